"""The second look of quality `high`: rows share the network's batches, and a failure stays with its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode, Limits, RowMeta
from cutout_core.imaging import tile_pass
from cutout_core.imaging.batch import BatchMapper
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from cutout_core.imaging.tile_pass import TilePass

from .images import Array, save

SETTINGS = PostprocessSettings(Limits(), tiles=True)


def disc(radius: float = 150) -> Array:
    y, x = np.mgrid[:512, :512]
    return np.clip((radius - np.hypot(x - 255.5, y - 255.5)) / 10 + 0.5, 0, 1).astype(np.float32)[None]


def noise(width: int, height: int) -> bytes:
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return save(pixels, "PNG")


def row(width: int = 900, height: int = 700, mode: str = "object", options: bytes = b"") -> RowInput:
    meta = RowMeta(quality="high", mode=mode, source_width=width, source_height=height)
    return RowInput(noise(width, height), options, meta.to_json(), disc(), disc())


class Network:
    """Stands in for `matting`: keeps its calls, gives the mask back plus `change`, or fails."""

    def __init__(self, change: float = 0.0) -> None:
        self.change = np.float32(change)
        self.batches: list[Array] = []
        self.fail_at: set[int] = set()
        self.error: Exception = CutoutError(ErrorCode.MODEL_UNAVAILABLE)

    def __call__(self, images: Array, masks: Array, modes: Array) -> Array:
        assert (images.dtype, masks.dtype, modes.dtype) == (np.uint8, np.float32, np.float32)
        assert images.shape[1:] == (3, 512, 512)
        assert masks.shape == (len(images), 1, 512, 512)
        assert modes.shape == (len(images), 3, 1, 1)
        self.batches.append(modes[:, :, 0, 0].argmax(axis=1))
        if len(self.batches) - 1 in self.fail_at:
            raise self.error
        return masks + self.change


@pytest.fixture
def mapper() -> Iterator[BatchMapper]:
    mapper = BatchMapper(2)
    yield mapper
    mapper.close()


def alpha_of(result: bytes) -> Array:
    with Image.open(BytesIO(result)) as file:
        return np.asarray(file)[..., 3]


def test_tiles_of_different_rows_share_batches_and_keep_their_modes(mapper: BatchMapper) -> None:
    network = Network()
    rows = [row(mode="product"), row(1000, 800, mode="portrait"), row(300, 200)]
    results = TilePass(SETTINGS, mapper, network, 16).run(rows)
    assert [meta.error for _, meta in results] == [None] * 3
    assert len(network.batches) == 1
    assert set(network.batches[0]) == {0, 1}  # the small photo has no tiles
    assert "tiles" in results[0][1].timings_ms


def test_batches_are_bounded(mapper: BatchMapper) -> None:
    network = Network()
    TilePass(SETTINGS, mapper, network, 3).run([row(), row(1000, 800)])
    sizes = [len(batch) for batch in network.batches]
    assert max(sizes) == 3
    assert all(size == 3 for size in sizes[:-1])


def test_a_network_that_changes_nothing_gives_the_first_look(mapper: BatchMapper) -> None:
    rows = [row(), row(1000, 800)]
    for given, (result, _) in zip(rows, TilePass(SETTINGS, mapper, Network(), 16).run(rows), strict=True):
        assert np.array_equal(alpha_of(result), alpha_of(postprocess_row(given, SETTINGS)[0]))


def test_what_the_network_changes_arrives_and_a_row_alone_equals_the_row_among_others(mapper: BatchMapper) -> None:
    raw = row(options=b'{"cleanup": false}')
    passes = TilePass(SETTINGS, mapper, Network(-0.2), 2)
    (alone, _), *_ = passes.run([raw])
    (_, _), (together, _), _ = passes.run([row(1000, 800), raw, row(300, 200)])
    assert alone == together
    assert alpha_of(alone).mean() < alpha_of(postprocess_row(raw, SETTINGS)[0]).mean() - 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CutoutError(ErrorCode.MODEL_UNAVAILABLE), ErrorCode.MODEL_UNAVAILABLE),
        (RuntimeError("secret"), ErrorCode.INTERNAL),
    ],
)
@pytest.mark.usefixtures("caplog")
def test_a_row_whose_tiles_are_not_answered_fails_and_its_neighbours_do_not(
    mapper: BatchMapper, error: Exception, code: ErrorCode
) -> None:
    network = Network()
    network.error = error
    network.fail_at = {1}
    rows = [row(), row(), row(300, 200)]
    tiles = len(tile_pass.begin_row(rows[0], SETTINGS).plan.tiles)  # type: ignore[union-attr]
    results = TilePass(SETTINGS, mapper, network, tiles).run(rows)
    assert results[0][1].error is None
    assert results[1][0] == b""
    assert results[1][1].error is not None
    assert results[1][1].error.code is code
    assert results[2][1].error is None
    assert RowMeta.from_json(results[1][1].to_json()) == results[1][1]


def test_after_a_failure_the_rest_of_a_rows_tiles_are_not_sent(mapper: BatchMapper) -> None:
    network = Network()
    network.fail_at = {0}
    TilePass(SETTINGS, mapper, network, 1).run([row()])
    assert len(network.batches) == 1


@pytest.mark.usefixtures("caplog")
@pytest.mark.parametrize("answer", ["shape", "nan"])
def test_an_unusable_answer_is_a_failure(mapper: BatchMapper, answer: str) -> None:
    def network(images: Array, masks: Array, modes: Array) -> Array:
        return masks[:, :, :10] if answer == "shape" else masks * np.float32("nan")

    (result, meta), *_ = TilePass(SETTINGS, mapper, network, 16).run([row()])
    assert result == b""
    assert meta.error is not None
    assert meta.error.code is ErrorCode.INTERNAL


@pytest.mark.usefixtures("caplog")
def test_a_bad_row_fails_alone(mapper: BatchMapper) -> None:
    meta = json.loads(row().meta) | {"mode": "pet"}
    bad = [
        RowInput(b"text", b"", row().meta, disc(), disc()),
        RowInput(row().image, b"", b"{}", disc(), disc()),
        RowInput(row().image, b"", json.dumps(meta).encode(), disc(), disc()),
    ]
    results = TilePass(SETTINGS, mapper, Network(), 16).run([bad[0], row(), *bad[1:]])
    codes = [meta.error.code if meta.error else None for _, meta in results]
    assert codes == [ErrorCode.NOT_AN_IMAGE, None, ErrorCode.INTERNAL, ErrorCode.INTERNAL]


def test_rows_are_held_in_groups_of_bounded_pixels(mapper: BatchMapper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_pass, "GROUP_PIXELS", 2 * 900 * 700)
    network = Network()
    results = TilePass(SETTINGS, mapper, network, 16).run(
        [row(mode=mode) for mode in ("product", "portrait", "object")]
    )
    assert [meta.error for _, meta in results] == [None] * 3
    assert [set(batch) for batch in network.batches] == [{0, 1}, {2}]
