"""The second look of quality `high` for many rows: their tiles share the matting network's batches.

Rows go through in groups whose photos have at most GROUP_PIXELS together, because a row's pixels are held from its
first half to its second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from cutout_core.contract import CutoutError, ErrorCode, RowMeta
from cutout_core.imaging.batch import BatchMapper
from cutout_core.imaging.draft import Draft
from cutout_core.imaging.postprocess import (
    PostprocessSettings,
    RowInput,
    begin_row,
    fail_row,
    finish_row,
)
from cutout_core.imaging.preprocess import one_hot
from cutout_core.imaging.tiles import Tile, blend_tiles, cut_tile

#: Pixels of the photos of one group; a photo above it goes alone.
GROUP_PIXELS = 48_000_000

Float32 = npt.NDArray[np.float32]

#: Runs the matting network: IMAGE uint8 [N, 3, 512, 512], MASK float32 [N, 1, 512, 512], MODE float32 [N, 3, 1, 1] to
#: ALPHA float32 [N, 1, 512, 512].
Matting = Callable[[npt.NDArray[np.uint8], Float32, Float32], Float32]


class TilePass:
    """Works on rows of quality `high`. matting: the network. batch: most tiles in one call of it."""

    def __init__(self, settings: PostprocessSettings, mapper: BatchMapper, matting: Matting, batch: int) -> None:
        self._settings = settings
        self._mapper = mapper
        self._matting = matting
        self._batch = batch

    def run(self, rows: Sequence[RowInput]) -> list[tuple[bytes, RowMeta]]:
        """`postprocess_row` of each, with the second look. Never raises for a row.

        A row some of whose tiles the network did not answer fails with MODEL_UNAVAILABLE: it is not passed off as
        what a lower quality would give.
        """
        results: list[tuple[bytes, RowMeta]] = []
        for group in _groups(rows):
            drafts = self._mapper.map(lambda row: begin_row(row, self._settings), group)
            changes = self._look(drafts)
            finished = zip(drafts, changes, strict=True)
            results += self._mapper.map(lambda pair: _finish(*pair), finished)
        return results

    def _look(self, drafts: Sequence[Draft]) -> list[list[Float32]]:
        """Each row's changes, one for each of its tiles; rows whose tiles were not answered have failed."""
        changes: list[list[Float32]] = [[] for _ in drafts]
        jobs = [(index, tile) for index, draft in enumerate(drafts) if draft.plan for tile in draft.plan.tiles]
        for start in range(0, len(jobs), self._batch):
            batch = [(index, tile) for index, tile in jobs[start : start + self._batch] if drafts[index].plan]
            if not batch:
                continue
            try:
                answers = self._ask([(drafts[index], tile) for index, tile in batch])
            except Exception as error:  # the other rows have no part in it
                for index in {index for index, _ in batch}:
                    fail_row(drafts[index], error)
                continue
            for (index, _), change in zip(batch, answers, strict=True):
                changes[index].append(change)
        return changes

    def _ask(self, tiles: Sequence[tuple[Draft, Tile]]) -> list[Float32]:
        """The network's change of each tile's mask, float32 [512, 512]. Raises what the call raises."""
        images, masks = zip(*(_cut(draft, tile) for draft, tile in tiles), strict=True)
        modes = np.stack([one_hot(draft.meta.mode) for draft, _ in tiles])
        stacked = np.stack(masks)
        alphas = self._matting(np.stack(images), stacked, modes)
        if alphas.shape != stacked.shape or not np.isfinite(alphas).all():
            raise CutoutError(ErrorCode.INTERNAL, "The matting network's answer is unusable.")
        return list((alphas - stacked)[:, 0])


def _groups(rows: Sequence[RowInput]) -> Iterator[list[RowInput]]:
    group: list[RowInput] = []
    pixels = 0
    for row in rows:
        size = _source_pixels(row.meta)
        if group and pixels + size > GROUP_PIXELS:
            yield group
            group, pixels = [], 0
        group.append(row)
        pixels += size
    if group:
        yield group


def _source_pixels(meta: bytes) -> int:
    try:
        row = RowMeta.from_json(meta)
        return int(row.source_width) * int(row.source_height)
    except (TypeError, ValueError):
        return 0  # the row fails on its own


def _cut(draft: Draft, tile: Tile) -> tuple[npt.NDArray[np.uint8], Float32]:
    assert draft.photo is not None
    assert draft.alpha is not None
    return cut_tile(tile, draft.photo.seen, draft.alpha)


def _finish(draft: Draft, changes: Sequence[Float32]) -> tuple[bytes, RowMeta]:
    if draft.plan is not None and draft.alpha is not None:
        try:
            draft.alpha = blend_tiles(draft.alpha, draft.plan, changes)
            draft.watch.lap("tiles")
        except Exception as error:
            fail_row(draft, error)
    return finish_row(draft)
