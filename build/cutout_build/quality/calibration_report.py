"""`calibration.md` and `calibration.json`: confidence, warnings and `mode=auto` on the test split, and the curve."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cutout_build.quality.calibration import Outcome, split_outcomes
from cutout_build.quality.calibration_data import Case, Float32
from cutout_build.quality.matting_graph import AlphaMaker
from cutout_build.quality.mode_measure import choices, compare_modes
from cutout_build.quality.reliability import reliability
from cutout_build.quality.reliability_plot import reliability_svg
from cutout_build.quality.stamps import package_versions
from cutout_build.quality.warning_cases import silhouette, warning_cases
from cutout_core.contract import ResultWarning
from cutout_core.contract.tensors import DEFAULT_QUALITY, MODES, QUALITY_ENGINES
from cutout_core.imaging.confidence import EMPTY_CONFIDENCE, GOOD_IOU, WEIGHTS, judge

COMMAND = "python -m cutout_build.quality.calibration"
BINS = 6
#: Bounds of confidence below which someone might look at every result.
REVIEW_BOUNDS = (0.5, 0.8, 0.9, 0.95)
SPLITS = ("train", "test")
#: What is told of each split: its name and its key in `Reliability`.
FIGURES = (
    ("share of good results", "good"),
    ("expected calibration error", "expected_error"),
    ("Brier score", "brier"),
    ("Brier score of the best constant", "brier_constant"),
    ("area under the ROC curve", "auc"),
    ("rank correlation with IoU", "rank_iou"),
    ("rank correlation with MAE", "rank_mae"),
)
WARNINGS = (
    ResultWarning.LOW_CONTRAST_EDGE,
    ResultWarning.SUBJECT_TOUCHES_BORDER,
    ResultWarning.SEVERAL_SUBJECTS,
    ResultWarning.PROBABLY_TRANSPARENT,
)


def write_report(folder: Path, images: Path) -> Path:
    """Measures everything and writes the report and `reliability.svg`; folders are made. The page's path."""
    alphas = AlphaMaker()
    rows = {quality: {split: split_outcomes(split, quality, alphas) for split in SPLITS} for quality in QUALITY_ENGINES}
    data = {
        "command": f"{COMMAND} report",
        "alpha": alphas.name,
        "openvino": version("openvino"),
        "packages": package_versions(),
        "good_iou": GOOD_IOU,
        "weights": WEIGHTS,
        "empty_confidence": EMPTY_CONFIDENCE,
        "confidence": {
            quality: {split: _confidence(part) for split, part in parts.items()} for quality, parts in rows.items()
        },
        "warnings": {
            split: [_false_alarms(part), *_warnings(split, alphas)] for split, part in rows[DEFAULT_QUALITY].items()
        },
        "mode": {split: choices(split) for split in SPLITS},
        "mode_error": compare_modes("test", alphas) if alphas.has_network else None,
    }
    for path in (folder, images):
        path.mkdir(parents=True, exist_ok=True)
    bins = {
        quality: reliability([row for row in parts["test"] if row.found], BINS).bins for quality, parts in rows.items()
    }
    curve = reliability_svg(bins, "Reliability of confidence, test split", f"IoU ≥ {GOOD_IOU}")
    (images / "reliability.svg").write_text(curve, encoding="utf-8")
    (folder / "calibration.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = folder / "calibration.md"
    page.write_text(_page(data), encoding="utf-8")
    return page


def _confidence(rows: Sequence[Outcome]) -> dict[str, Any]:
    seen = [row for row in rows if row.found]
    unseen = [row for row in rows if not row.found]
    return {
        **asdict(reliability(seen, BINS)),
        "review": [_review(seen, bound) for bound in REVIEW_BOUNDS],
        "empty": {"count": len(unseen), "right": sum(row.good for row in unseen)},
        "subject_invented": sum(row.kind == "no subject" for row in seen),
    }


def _review(rows: Sequence[Outcome], bound: float) -> dict[str, float]:
    """What looking at every result below `bound` costs and finds. missed: bad results at or above it."""
    kept = [row for row in rows if row.confidence >= bound]
    bad = sum(not row.good for row in rows)
    missed = sum(not row.good for row in kept)
    return {"bound": bound, "looked_at": 1 - len(kept) / len(rows), "found": (bad - missed) / bad if bad else 1.0}


def _warnings(split: str, alphas: AlphaMaker) -> list[dict[str, Any]]:
    """Share of each kind of built photo that raises each warning: given the true alpha, and end to end."""
    groups: dict[str, list[tuple[Case, ResultWarning | None]]] = defaultdict(list)
    for case, warning in warning_cases(split):
        groups[case.kind].append((case, warning))
    return [
        {
            "kind": kind,
            "deserves": group[0][1],
            "count": len(group),
            "true_alpha": _rates(_warned(c, silhouette(c.truth), c.truth) for c, _ in group),
            "end_to_end": _rates(_warned(c, c.mask, alphas.alpha(c.rgb, c.mask)) for c, _ in group),
        }
        for kind, group in groups.items()
    ]


def _warned(case: Case, mask: Float32, alpha: Float32) -> tuple[ResultWarning, ...]:
    return judge(mask, alpha, case.rgb, DEFAULT_QUALITY).warnings


def _false_alarms(rows: Sequence[Outcome]) -> dict[str, Any]:
    """The benchmark's composites, of which a few touch the border or look like their background by chance."""
    composites = [row for row in rows if row.kind != "no subject"]
    return {
        "kind": "composites of the benchmark",
        "deserves": None,
        "count": len(composites),
        "end_to_end": _rates(row.warnings for row in composites),
    }


def _rates(raised: Iterable[Sequence[ResultWarning | str]]) -> dict[str, float]:
    rows = list(raised)
    counts = Counter(ResultWarning(warning) for row in rows for warning in row)
    return {warning.value: counts[warning] / len(rows) for warning in WARNINGS}


def _page(data: dict[str, Any]) -> str:
    return "\n".join(
        [
            "# Confidence, warnings, automatic mode",
            "",
            f"`{data['command']}` — alpha: {data['alpha']}; segmentation in bf16; OpenVINO {data['openvino']}; "
            + ", ".join(f"{name} {number}" for name, number in data["packages"].items())
            + ".",
            "",
            *_confidence_page(data),
            *_warnings_page(data),
            *_mode_page(data),
        ]
    )


def _confidence_page(data: dict[str, Any]) -> list[str]:
    lines = [
        "## Confidence",
        "",
        f"The probability of IoU ≥ {data['good_iou']} with the truth (both cut at 0.5). Fitted for each quality on the "
        "training split's composites and empty scenes, shown on the test split's, whose stamps and backdrops the fit "
        "has not seen. Each stamp occurs several times, so that the intervals are rather too narrow.",
        "",
        "![reliability curve](../docs/images/reliability.svg)",
        "",
        *_table(
            ["test / training split", *(f"`{quality}`" for quality in data["confidence"])],
            [
                [
                    label,
                    *(f"{part['test'][key]:.3f} / {part['train'][key]:.3f}" for part in data["confidence"].values()),
                ]
                for label, key in FIGURES
            ],
        ),
        "",
    ]
    for quality, part in data["confidence"].items():
        lines += _quality_page(quality, part["test"], part["train"], data["good_iou"])
    return lines


def _quality_page(quality: str, test: dict[str, Any], train: dict[str, Any], good_iou: float) -> list[str]:
    return [
        f"### `{quality}`",
        "",
        *_table(
            ["confidence (mean)", "results", f"IoU ≥ {good_iou}", "95 % interval", "IoU", "MAE × 10³"],
            [
                [
                    f"{b['confidence']:.3f}",
                    str(b["count"]),
                    f"{b['good']:.2f}",
                    f"{b['low']:.2f} to {b['high']:.2f}",
                    f"{b['iou']:.3f}",
                    f"{b['mae']:.1f}",
                ]
                for b in test["bins"]
            ],
        ),
        "",
        "If a person looks at everything below a bound (test split):",
        "",
        *_table(
            ["bound", "share looked at", "bad results found"],
            [[f"{r['bound']}", f"{r['looked_at']:.0%}", f"{r['found']:.0%}"] for r in test["review"]],
        ),
        "",
        f"Nothing was found in {test['empty']['count']} (training: {train['empty']['count']}) photos, rightly in "
        f"{test['empty']['right']} ({train['empty']['right']}); a subject was seen in {test['subject_invented']} "
        f"({train['subject_invented']}) scenes that have none, which count as IoU 0 above.",
        "",
    ]


def _warnings_page(data: dict[str, Any]) -> list[str]:
    lines = [
        "## Warnings",
        "",
        f"Share of built photos that raise a warning in `{DEFAULT_QUALITY}`: given the true alpha / end to end. A "
        "kind's own warning should be raised, and none by ordinary photos. Thresholds are of the training split.",
    ]
    for split in ("test", "train"):
        lines += [
            "",
            f"{'Test' if split == 'test' else 'Training'} split:",
            "",
            *_table(
                ["photos", "number", *(f"`{warning.value}`" for warning in WARNINGS)],
                [
                    [
                        row["kind"],
                        str(row["count"]),
                        *(_rate_cell(row, warning) for warning in WARNINGS),
                    ]
                    for row in data["warnings"][split]
                ],
            ),
        ]
    return [*lines, ""]


def _rate_cell(row: dict[str, Any], warning: ResultWarning) -> str:
    given = f"{row['true_alpha'][warning.value]:.0%}" if "true_alpha" in row else "–"
    return f"{given} / {row['end_to_end'][warning.value]:.0%}"


def _mode_page(data: dict[str, Any]) -> list[str]:
    lines = [
        "## `mode=auto`",
        "",
        "Which mode is chosen, test / training split. The one person is scikit-image's astronaut, in twelve versions.",
        "",
        *_table(
            ["photos", "right", *MODES],
            [
                [kind, right, *(f"{test['chosen'][m]} / {train['chosen'][m]}" for m in MODES)]
                for (kind, right), test, train in _paired(data["mode"]["test"], data["mode"]["train"])
            ],
        ),
        "",
    ]
    error = data["mode_error"]
    if error is None:
        return [*lines, "Against always `object`: not run, as there is no matting network yet.", ""]
    return [
        *lines,
        "Against always `object`, where another mode is chosen and the alpha is known (test split, the network's alpha "
        "at 512² from the segmentation's mask): mean error × 10³, and on how many photos it is lower.",
        "",
        *_table(
            ["photos", "number", "MAE object → auto", "band object → auto", "band lower"],
            [
                [
                    row["kind"],
                    str(row["count"]),
                    f"{row['mae'][0]:.2f} → {row['mae'][1]:.2f}",
                    f"{row['band'][0]:.1f} → {row['band'][1]:.1f}",
                    str(row["band_lower"]),
                ]
                for row in error
            ],
        ),
        "",
    ]


def _paired(
    test: list[dict[str, Any]], train: list[dict[str, Any]]
) -> Iterable[tuple[tuple[str, str], dict[str, Any], dict[str, Any]]]:
    by_kind = {row["kind"]: row for row in train}
    return (((row["kind"], row["label"]), row, by_kind[row["kind"]]) for row in test)


def _table(header: list[str], rows: list[list[str]]) -> list[str]:
    rule = ["---"] * len(header)
    return ["| " + " | ".join(row) + " |" for row in (header, rule, *rows)]
