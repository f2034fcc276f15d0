"""Fits the confidence of `cutout_core.imaging.confidence` and measures it, the warnings and `mode=auto`.

    python -m cutout_build.quality.calibration fit      prints the constants to paste
    python -m cutout_build.quality.calibration report   writes reports/calibration.{md,json} and the reliability curve

Each quality is fitted and measured by itself: its segmentation's masks, its alphas. The fit sees the training split
only, the report shows the test split. Masks come from the cache after the first run; alphas are made anew, by the
matting network's graph where it has been built, so that both follow that network. Of `high`, whose weights have to be
installed, it is the first look, on which confidence is decided.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_build.errors import BuildError
from cutout_build.quality.calibration_data import Case, cases
from cutout_build.quality.matting_graph import AlphaMaker
from cutout_build.quality.metrics import iou, mae
from cutout_core.contract.tensors import MATTING, QUALITY_ENGINES
from cutout_core.imaging.confidence import GOOD_IOU, SIDE, features, judge
from cutout_core.imaging.levels import mask_to_alpha
from cutout_core.imaging.subject import has_subject

Float64 = NDArray[np.float64]

#: Ridge on the standardised weights, in units of one case: keeps them finite where the classes part perfectly.
RIDGE = 0.5
MAX_STEPS = 50


@dataclass(frozen=True, slots=True)
class Outcome:
    """One case judged. found: whether the mask shows a subject. iou: of alpha and truth at 0.5, 1 where both are empty.

    mae: × 10³. features: those of `confidence.features`; empty where nothing was found.
    """

    name: str
    kind: str
    found: bool
    iou: float
    mae: float
    confidence: float
    warnings: tuple[str, ...]
    features: tuple[float, ...]

    @property
    def good(self) -> bool:
        """What confidence is the probability of."""
        return self.iou >= GOOD_IOU


def split_outcomes(split: str, quality: str, alphas: AlphaMaker) -> list[Outcome]:
    """Judges all cases of a split by what `quality` makes of them."""
    return outcomes(cases(split, QUALITY_ENGINES[quality][0]), quality, alphas)


def outcomes(made: Iterable[Case], quality: str, alphas: AlphaMaker) -> list[Outcome]:
    """Judges every case, whose mask is of the quality's segmentation. An alpha without a subject counts as empty, as
    it is served."""
    return [_outcome(case, quality, alphas) for case in made]


def _outcome(case: Case, quality: str, alphas: AlphaMaker) -> Outcome:
    found = has_subject(case.mask)
    matted = MATTING.name in QUALITY_ENGINES[quality]
    alpha = alphas.alpha(case.rgb, case.mask) if matted else mask_to_alpha(case.mask)
    judged = judge(case.mask, alpha, case.rgb, quality)
    served = alpha if found else np.zeros_like(alpha)
    small = [cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for square in (case.mask, alpha)]
    return Outcome(
        case.name,
        case.kind,
        found,
        iou(served, case.truth),
        mae(served, case.truth),
        judged.confidence,
        tuple(warning.value for warning in judged.warnings),
        features(*small) if found else (),
    )


def fit(rows: Sequence[Outcome]) -> tuple[tuple[float, ...], float]:
    """WEIGHTS and EMPTY_CONFIDENCE for `rows`. Raises BuildError where one of the classes is missing."""
    seen = [row for row in rows if row.found]
    good = np.array([row.good for row in seen], np.float64)
    if not 0 < good.sum() < len(good):
        raise BuildError("the fit needs results of both kinds, good and not.")
    unseen = [row.good for row in rows if not row.found]
    empty = (sum(unseen) + 1) / (len(unseen) + 2)  # Laplace's rule of succession: never certain
    return logistic(np.array([row.features for row in seen]), good), empty


def logistic(values: Float64, good: Float64) -> tuple[float, ...]:
    """Bias and weights, [n, k] against [n] of 0 and 1: maximum likelihood by Newton's steps, a little ridge on top."""
    mean, spread = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
    design = np.column_stack([np.ones(len(values)), (values - mean) / spread])
    ridge = RIDGE * np.diag([0.0] + [1.0] * values.shape[1])
    weights = np.zeros(design.shape[1])
    for _ in range(MAX_STEPS):
        probability = 1 / (1 + np.exp(-design @ weights))
        slope = design.T @ (good - probability) - ridge @ weights
        curvature = design.T @ (design * (probability * (1 - probability))[:, None]) + ridge
        step = np.linalg.solve(curvature, slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    scaled = weights[1:] / spread
    return (float(weights[0] - scaled @ mean), *(float(weight) for weight in scaled))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it is done, 1 with one sentence on stderr when it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "fit":
            alphas = AlphaMaker()
            print(f"# alpha: {alphas.name}")
            for quality in QUALITY_ENGINES:
                weights, empty = fit(split_outcomes("train", quality, alphas))
                print(f"WEIGHTS[{quality!r}] = ({', '.join(f'{weight:.3f}' for weight in weights)})")
                print(f"EMPTY_CONFIDENCE = {empty:.2f}  # {quality}")
        else:
            from cutout_build.quality.calibration_report import write_report

            print(write_report(options.out, options.images))
    except BuildError as error:
        print(f"cutout_build.quality.calibration: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cutout_build.quality.calibration",
        description="Fit and measure confidence, warnings and mode=auto.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fit", help="print the constants of cutout_core.imaging.confidence")
    report = commands.add_parser("report", help="measure on the test split")
    report.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    report.add_argument("--images", type=Path, default=Path("docs/images"), metavar="DIR", help="default: docs/images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
