"""The options for shops on a real Triton, asked as any KServe v2 client would ask it."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
import tritonclient.grpc as triton
from PIL import Image

from cutout_build.photos import photo
from cutout_core.contract import ErrorCode, RowMeta, Rule
from cutout_core.contract.tensors import ENSEMBLES
from tests.triton.test_repository import bytes_input, pixels

pytestmark = pytest.mark.triton


@pytest.mark.parametrize("ensemble", ENSEMBLES.values())
def test_rows_with_and_without_a_background_in_one_batch(
    triton_client: triton.InferenceServerClient, ensemble: str
) -> None:
    coffee, cat = photo("coffee").read_bytes(), photo("chelsea").read_bytes()
    options = [
        {"output": "jpeg", "background": "white", "canvas": "1000x1000", "scale": "85%"},
        {"output": "jpeg", "canvas": "square"},
        {"output": "zip", "crop": "on", "margin": "5%"},
        {},
        {"preset": "amazon"},
    ]
    inputs = [
        bytes_input("IMAGE", [coffee] * len(options)),
        bytes_input("OPTIONS", [json.dumps(values).encode() for values in options]),
        bytes_input("BACKGROUND", [b"", cat, b"", b"not an image", b""]),
    ]
    answer = triton_client.infer(ensemble, inputs)
    results = answer.as_numpy("RESULT").ravel().tolist()
    metas = [RowMeta.from_json(raw) for raw in answer.as_numpy("META").ravel().tolist()]
    errors = [meta.error and (meta.error.code, meta.error.field) for meta in metas]
    assert errors == [None, None, None, (ErrorCode.NOT_AN_IMAGE, "background_image"), None]

    white = pixels(results[0])
    assert white.shape == (1000, 1000, 3)
    assert metas[0].subject is not None
    side = max(metas[0].subject.width, metas[0].subject.height)
    assert abs(side - 850) <= 2, "a soft edge may move by a pixel"
    assert (white[:, :40] == 255).all()

    behind = pixels(results[1])
    assert behind.shape == (600, 600, 3)
    side = min(Image.open(io.BytesIO(cat)).size)
    with Image.open(io.BytesIO(cat)) as picture:
        left = (picture.width - side) // 2
        shown = np.asarray(picture.convert("RGB").crop((left, 0, left + side, side)).resize((600, 600)))
    assert np.abs(behind[:60].astype(int) - shown[:60]).mean() < 6

    with zipfile.ZipFile(io.BytesIO(results[2])) as archive:
        sizes = {Image.open(io.BytesIO(archive.read(name))).size for name in ("color.jpg", "alpha.png")}
    assert sizes == {(metas[2].width, metas[2].height)}

    assert pixels(results[4]).shape == (2000, 2000, 3)
    assert [violation.rule for violation in metas[4].violations] == [Rule.ENLARGED]
