"""The model repository on a real Triton, asked as any KServe v2 client would ask it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from cutout_build.photos import photo
from cutout_core.contract import ErrorCode, Options, RowMeta
from cutout_core.contract.tensors import ENGINES, ENSEMBLES, MODELS, PROFILE_BACKENDS, QUALITY_ENGINES
from tests.triton.conftest import RunningTriton

pytestmark = pytest.mark.triton


def bytes_input(name: str, values: Sequence[bytes]) -> triton.InferInput:
    tensor = triton.InferInput(name, [len(values), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[value] for value in values], np.object_))
    return tensor


def cut_out(
    client: triton.InferenceServerClient,
    images: Sequence[bytes],
    options: Sequence[bytes] | None = None,
    ensemble: str = "cutout",
) -> tuple[list[bytes], list[RowMeta]]:
    inputs = [bytes_input("IMAGE", images)]
    if options is not None:
        inputs.append(bytes_input("OPTIONS", options))
    answer = client.infer(ensemble, inputs)
    results, metas = (answer.as_numpy(name).ravel().tolist() for name in ("RESULT", "META"))
    return results, [RowMeta.from_json(meta) for meta in metas]


def pixels(image: bytes) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened)


@pytest.fixture(scope="module")
def photos() -> list[bytes]:
    """Three photographs of different sizes."""
    return [photo(name).read_bytes() for name in ("astronaut", "chelsea", "coffee")]


@pytest.mark.parametrize(("quality", "ensemble"), ENSEMBLES.items())
def test_a_photo_gives_a_cut_out_of_its_own_size(
    triton_client: triton.InferenceServerClient, photos: list[bytes], quality: str, ensemble: str
) -> None:
    (result,), (meta,) = cut_out(triton_client, photos[:1], ensemble=ensemble)
    image = pixels(result)
    assert image.shape == (512, 512, 4)
    assert meta.error is None
    assert (meta.width, meta.height, meta.quality) == (512, 512, quality)
    alpha = image[..., 3]
    assert alpha[100:180, 190:260].mean() > 250, "the face is not in the cut-out"
    assert alpha[40:200, 400:].mean() < 25, "the background is in the cut-out"


@pytest.mark.parametrize("ensemble", ENSEMBLES.values())
def test_alone_equals_in_a_batch_of_different_sizes(
    triton_client: triton.InferenceServerClient, photos: list[bytes], ensemble: str
) -> None:
    together, _ = cut_out(triton_client, photos, ensemble=ensemble)
    alone = [cut_out(triton_client, [image], ensemble=ensemble)[0][0] for image in photos]
    assert [pixels(result).shape[:2] for result in together] == [pixels(image).shape[:2] for image in photos]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(pixels(one), pixels(other))


def test_requests_that_triton_merges_equal_requests_alone(
    triton_server: RunningTriton, triton_client: triton.InferenceServerClient, photos: list[bytes]
) -> None:
    alone = [cut_out(triton_client, [image])[0] for image in photos]
    before = executions(triton_client, "segmentation")

    def ask(index: int) -> list[bytes]:
        client = triton.InferenceServerClient(triton_server.url)
        try:
            return cut_out(client, [photos[index % 3]])[0]
        finally:
            client.close()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(ask, range(6)))
    assert answers == alone * 2
    after = executions(triton_client, "segmentation")
    assert after.rows - before.rows >= 6
    assert after.calls - before.calls < 6, "Triton merged nothing, so nothing was tested"


class Executions(NamedTuple):
    """Rows served and execute() calls so far."""

    rows: int
    calls: int


def executions(client: triton.InferenceServerClient, model: str) -> Executions:
    (statistics,) = client.get_inference_statistics(model).model_stats
    return Executions(statistics.inference_count, statistics.execution_count)


def test_options_are_optional_empty_or_json(triton_client: triton.InferenceServerClient, photos: list[bytes]) -> None:
    (without,), _ = cut_out(triton_client, photos[1:2])
    (empty,), _ = cut_out(triton_client, photos[1:2], [b""])
    (mask,), _ = cut_out(triton_client, photos[1:2], [Options(output="mask").to_json()])
    assert without == empty
    np.testing.assert_array_equal(pixels(mask), pixels(without)[..., 3])


def test_a_bad_row_is_data_and_its_neighbours_are_whole(
    triton_client: triton.InferenceServerClient, photos: list[bytes]
) -> None:
    rows = [photos[1], b"not an image", photos[2], photos[1]]
    options = [b"", b"", json.dumps({"shine": 1}).encode(), b""]
    results, metas = cut_out(triton_client, rows, options)
    codes = [meta.error.code if meta.error else None for meta in metas]
    assert codes == [None, ErrorCode.NOT_AN_IMAGE, ErrorCode.UNKNOWN_OPTION, None]
    assert results[1] == results[2] == b""
    assert results[0] == results[3] == cut_out(triton_client, photos[1:2])[0][0]


@pytest.mark.parametrize(("rows", "option_rows"), [(2, 1), (1, 2), (17, 17)])
def test_a_wrong_request_is_refused_and_the_next_one_served(
    triton_client: triton.InferenceServerClient, photos: list[bytes], rows: int, option_rows: int
) -> None:
    with pytest.raises(InferenceServerException, match="batch"):
        cut_out(triton_client, [photos[1]] * rows, [b""] * option_rows)
    assert cut_out(triton_client, photos[1:2])[1][0].error is None


def test_every_model_is_ready_with_the_tensors_of_the_contract(triton_client: triton.InferenceServerClient) -> None:
    for name, spec in MODELS.items():
        assert triton_client.is_model_ready(name)
        metadata = triton_client.get_model_metadata(name)
        assert [(t.name, t.datatype) for t in metadata.inputs] == [(s.name, s.dtype) for s in spec.inputs]
        assert [(t.name, t.datatype) for t in metadata.outputs] == [(s.name, s.dtype) for s in spec.outputs]


def test_engines_report_the_backend_of_the_profile(triton_client: triton.InferenceServerClient) -> None:
    for engine in ENGINES:
        assert triton_client.get_model_config(engine).config.backend == PROFILE_BACKENDS["cpu"]


def test_meta_tells_the_precision_that_the_engine_was_given(
    triton_client: triton.InferenceServerClient, photos: list[bytes]
) -> None:
    for quality, ensemble in ENSEMBLES.items():
        _, (meta,) = cut_out(triton_client, photos[1:2], ensemble=ensemble)
        configs = {engine: triton_client.get_model_config(engine).config for engine in QUALITY_ENGINES[quality]}
        given = {engine: config.parameters["precision"].string_value for engine, config in configs.items()}
        assert meta.precision == given
