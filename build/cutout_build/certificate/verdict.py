"""What a precision loses, and whether the catalogue's bounds allow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cutout_build.catalogue import Precision
from cutout_build.certificate.cases import Case
from cutout_build.quality.metrics import band, edge_band, iou
from cutout_core.imaging.upscale import upscale

Array = NDArray[np.float32]

#: Floor of what a loss is relative to, so that one from zero is large and no error.
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class CaseLoss:
    """One picture. mae, iou: against fp32. band, band_fp32, gt_iou, gt_iou_fp32: against ground truth, None without."""

    name: str
    mae: float
    iou: float
    band: float | None
    band_fp32: float | None
    gt_iou: float | None
    gt_iou_fp32: float | None


@dataclass(frozen=True, slots=True)
class Losses:
    """Means over the pictures. gt_band_loss, gt_iou_loss: relative to fp32's, positive is worse. band_error: mean |Δ|
    from ground truth in its edge band."""

    mae: float
    iou: float
    gt_band_loss: float
    gt_iou_loss: float
    band_error: float
    cases: tuple[CaseLoss, ...]

    @property
    def worst(self) -> list[CaseLoss]:
        """By distance from fp32, the largest first."""
        return sorted(self.cases, key=lambda case: case.mae, reverse=True)


def losses(cases: Sequence[Case], answers: Array, reference: Array, *, in_band: bool) -> Losses:
    """answers, reference: [N, 1, 512, 512], of a precision and of fp32. in_band: mae counts fp32's edge band only.

    Raises ValueError where an answer is not finite or no case has ground truth.
    """
    if not np.isfinite(answers).all():
        raise ValueError("it gives values that are no numbers")
    rows = tuple(
        _case(case, answer[0], fp32[0], in_band) for case, answer, fp32 in zip(cases, answers, reference, strict=True)
    )
    judged = [row for row in rows if row.band is not None]
    if not judged:
        raise ValueError("no picture has ground truth")
    mine, fp32_band = _mean([row.band for row in judged]), _mean([row.band_fp32 for row in judged])
    found, fp32_iou = _mean([row.gt_iou for row in judged]), _mean([row.gt_iou_fp32 for row in judged])
    return Losses(
        mae=_mean([row.mae for row in rows]),
        iou=_mean([row.iou for row in rows]),
        gt_band_loss=(mine - fp32_band) / max(fp32_band, _TINY),
        gt_iou_loss=(fp32_iou - found) / max(fp32_iou, _TINY),
        band_error=mine / 1000,
        cases=rows,
    )


def judge(found: Losses, bounds: Precision, size: float | None = None) -> tuple[bool, str]:
    """Whether every bound holds, and one sentence that says why.

    size: the graph's bytes relative to fp32's; without it the bound on them is left out.
    """
    measured = [
        ("mean |Δ| from fp32", found.mae, bounds.mae, f"{found.mae:.5f}", f"{bounds.mae:g}"),
        (
            "loss of band error",
            found.gt_band_loss,
            bounds.gt_loss,
            f"{found.gt_band_loss:+.2%}",
            f"{bounds.gt_loss:.1%}",
        ),
        ("loss of IoU", found.gt_iou_loss, bounds.gt_loss, f"{found.gt_iou_loss:+.2%}", f"{bounds.gt_loss:.1%}"),
    ]
    if size is not None and bounds.bytes is not None:
        measured.append(("bytes relative to fp32", size, bounds.bytes, f"{size:.3f}", f"{bounds.bytes:g}"))
    texts = [f"{name} {text} (bound {bound})" for name, _, _, text, bound in measured]
    missed = [told for told, (_, value, limit, _, _) in zip(texts, measured, strict=True) if not value <= limit]
    if missed:
        return False, f"Misses its bound: {', '.join(missed)}."
    return True, f"Within every bound: {', '.join(texts)}."


def _case(case: Case, answer: Array, fp32: Array, in_band: bool) -> CaseLoss:
    difference = np.abs(answer - fp32)
    inside = edge_band(fp32) if in_band else np.ones_like(fp32, bool)
    mae = float(difference[inside].mean(dtype=np.float64)) if inside.any() else 0.0
    if case.truth is None:
        return CaseLoss(case.name, mae, iou(answer, fp32), None, None, None, None)
    mine, theirs = _full_size(answer, case.truth), _full_size(fp32, case.truth)
    truth = case.truth
    return CaseLoss(
        case.name, mae, iou(answer, fp32), band(mine, truth), band(theirs, truth), iou(mine, truth), iou(theirs, truth)
    )


def _full_size(alpha: Array, truth: Array) -> Array:
    """As the served `postprocess` brings a mask to the photo's size."""
    height, width = truth.shape
    return (upscale(alpha, width, height) / 255).astype(np.float32)


def _mean(values: Sequence[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
