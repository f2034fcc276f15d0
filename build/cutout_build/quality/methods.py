"""Every method of the benchmark's table: a picture to alphas, in both settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_build.quality.baselines import guided_filter, true_coarse_mask
from cutout_build.quality.composites import Composite
from cutout_build.quality.ours import Pipeline
from cutout_build.quality.peers import Peers
from cutout_build.quality.published import PublishedNetworks
from cutout_core.contract.tensors import ALPHA_SIZE, MODES

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

END_TO_END, GIVEN = "end to end", "given the true coarse mask"

#: The names that targets speak of.
REMBG, REMBG_CLOSED_FORM = "rembg (u2netp)", "rembg (u2netp) + closed form"
FAST, STANDARD, HIGH = "ours, fast", "ours, standard", "ours, high"
UPSCALED, CLOSED_FORM = "mask upscaled", "closed form"
ONE_PASS, TILES = "ours, one 512² pass", "ours, native tiles"
#: The same in INT8, as CPUs with the instructions for it are served.
FAST_INT8, STANDARD_INT8, HIGH_INT8 = "ours, fast, int8", "ours, standard, int8", "ours, high, int8"
OURS = (FAST, STANDARD, HIGH, FAST_INT8, STANDARD_INT8, HIGH_INT8, ONE_PASS, TILES)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One alpha, [H, W] float32 in 0..1, and who made it."""

    setting: str
    method: str
    alpha: Float32


class Methods:
    """All methods over one set of engines. `peers`: None leaves theirs out, which saves minutes.

    int8: the same pipeline in INT8; None leaves its rows out.
    """

    def __init__(
        self, pipeline: Pipeline, networks: PublishedNetworks, peers: Peers | None, int8: Pipeline | None = None
    ) -> None:
        self.pipeline, self.networks, self.peers, self.int8 = pipeline, networks, peers, int8

    def outcomes(self, case: Composite) -> Iterator[Outcome]:
        """Both settings of every method on one picture."""
        photo = case.photo()
        for name, alpha in self._end_to_end(case, photo):
            yield Outcome(END_TO_END, name, alpha)
        for name, alpha in self._given(case, photo):
            yield Outcome(GIVEN, name, alpha)

    def modes(self, case: Composite) -> Iterator[tuple[str, Outcome]]:
        """Each mode and `auto` of `standard`, in both settings."""
        mask = _squares(case)
        for mode in (*MODES, "auto"):
            yield mode, Outcome(END_TO_END, STANDARD, _unit(self.pipeline.cut(case.jpeg, "standard", mode)))
            yield mode, Outcome(GIVEN, ONE_PASS, _unit(self.pipeline.cut(case.jpeg, "standard", mode, mask)))

    def _end_to_end(self, case: Composite, photo: UInt8) -> Iterator[tuple[str, Float32]]:
        height, width = case.alpha.shape
        for name in ("u2netp", "u2net", "isnet"):
            yield name, _enlarged(self.networks.mask(name, case.jpeg), width, height)
        if self.peers is not None:
            yield REMBG, _unit(self.peers.run("rembg", photo)[0])
            yield REMBG_CLOSED_FORM, _unit(self.peers.run("rembg_matting", photo)[0])
        mask = _enlarged(self.networks.mask("u2netp", case.jpeg), width, height)
        yield "u2netp + guided filter", guided_filter(photo, mask)
        for name, quality in ((FAST, "fast"), (STANDARD, "standard"), (HIGH, "high")):
            yield name, _unit(self.pipeline.cut(case.jpeg, quality))
        if self.int8 is not None:
            for name, quality in ((FAST_INT8, "fast"), (STANDARD_INT8, "standard"), (HIGH_INT8, "high")):
                yield name, _unit(self.int8.cut(case.jpeg, quality))

    def _given(self, case: Composite, photo: UInt8) -> Iterator[tuple[str, Float32]]:
        height, width = case.alpha.shape
        mask = true_coarse_mask(case.alpha, width, height)
        yield UPSCALED, mask
        yield "guided filter", guided_filter(photo, mask)
        if self.peers is not None:
            yield CLOSED_FORM, _unit(self.peers.run("closed_form", photo, np.rint(mask * 255).astype(np.uint8))[0])
        for name, quality in ((ONE_PASS, "standard"), (TILES, "high")):
            yield name, _unit(self.pipeline.cut(case.jpeg, quality, mask=_squares(case)))


def _squares(case: Composite) -> Float32:
    """The true coarse mask as a segmentation engine would give it, [512, 512]."""
    return true_coarse_mask(case.alpha, ALPHA_SIZE, ALPHA_SIZE)


def _enlarged(mask: Float32, width: int, height: int) -> Float32:
    enlarged: Float32 = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged


def _unit(alpha: UInt8) -> Float32:
    return alpha.astype(np.float32) / 255
