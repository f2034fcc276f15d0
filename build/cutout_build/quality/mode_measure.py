"""`mode=auto` measured: what it chooses, and whether the choice is ever worse than always `object`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from cutout_build.quality.calibration_data import Source, cached_cases, cases
from cutout_build.quality.composites import decode_rgb
from cutout_build.quality.matting_graph import AlphaMaker
from cutout_build.quality.metrics import Scores, score
from cutout_build.quality.mode_cases import ModeCase, mode_cases
from cutout_core.contract.tensors import ALPHA_SIZE, MODES
from cutout_core.imaging.mode import choose_mode
from cutout_core.imaging.resize import shrink


@dataclass(frozen=True, slots=True)
class _Seen:
    kind: str
    label: str
    chosen: str


def choices(split: str) -> list[dict[str, Any]]:
    """For each kind of photo: the right mode, and how often each was chosen."""
    groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for seen in _choices(split):
        groups[seen.kind, seen.label][seen.chosen] += 1
    return [
        {"kind": kind, "label": label, "chosen": {mode: counts[mode] for mode in MODES}}
        for (kind, label), counts in groups.items()
    ]


def compare_modes(split: str, alphas: AlphaMaker) -> list[dict[str, Any]]:
    """For each kind: mean errors at 512² by `object` and by the chosen mode, of the photos where they differ."""
    groups: dict[str, list[tuple[Scores, Scores]]] = defaultdict(list)
    known = [made for made in mode_cases(split) if made.alpha is not None]
    kinds = [made.kind for made in known]
    modes = [_chosen(made) for made in known]
    sources = (Source(made.name, made.file, made.alpha) for made in known)
    for case, kind, mode in zip(cached_cases(f"{split}-modes", "mode", sources), kinds, modes, strict=True):
        if mode != "object":
            fixed, auto = (score(alphas.alpha(case.rgb, case.mask, name), case.truth) for name in ("object", mode))
            groups[kind].append((fixed, auto))
    return [
        {
            "kind": kind,
            "count": len(pairs),
            **{
                name: [float(np.mean([getattr(p[i], name) for p in pairs])) for i in (0, 1)] for name in ("mae", "band")
            },
            "band_lower": sum(auto.band < fixed.band for fixed, auto in pairs),
        }
        for kind, pairs in groups.items()
    ]


def _choices(split: str) -> Iterator[_Seen]:
    for made in mode_cases(split):
        yield _Seen(made.kind, made.label, _chosen(made))
    for case in cases(split):
        kind = "composite" if case.kind.startswith("composite") else case.kind
        yield _Seen(kind, "object", choose_mode(case.rgb).mode)


def _chosen(made: ModeCase) -> str:
    rgb = decode_rgb(made.file)
    return choose_mode(shrink(rgb, ALPHA_SIZE), rgb.shape[1] / rgb.shape[0]).mode
