"""Triton adapter of `postprocess`: tensors in and out; the pixel work is `cutout_core.imaging.postprocess`."""

from __future__ import annotations

from functools import partial
from typing import Any

from cutout_core.imaging.postprocess import postprocess_row
from cutout_core.serving.postprocess_model import PostprocessModel


class TritonPythonModel(PostprocessModel):
    """All requests of one execute() become one list of rows, worked on by `threads` threads."""

    def work(self, rows: list[Any]) -> list[Any]:
        return self.mapper.map(partial(postprocess_row, settings=self.settings), rows)
