"""The reliability curve as a plain SVG file: what confidence promised against what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SIZE, _LEFT, _TOP, _PLOT = (460, 470), 64, 34, 370
#: One for each series: told apart without colour vision, too (M. Okabe, K. Ito, 2008).
_COLORS = ("#0072b2", "#d55e00", "#009e73")


@dataclass(frozen=True, slots=True)
class Bin:
    """Results of similar confidence. confidence: its mean. good: share of good results, 0..1. low, high: the 95 %
    interval of that share. iou: mean. mae: mean × 10³."""

    count: int
    confidence: float
    good: float
    low: float
    high: float
    iou: float
    mae: float


def reliability_svg(series: Mapping[str, Sequence[Bin]], title: str, goodness: str) -> str:
    """An SVG document: one dot with its interval for each bin of up to three series, and the diagonal of a perfect
    confidence."""
    width, height = _SIZE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _text(_LEFT + _PLOT / 2, 20, title, "middle"),
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_PLOT}" height="{_PLOT}" fill="none" stroke="#888"/>',
        _line((0, 0), (1, 1), "#999", dashed=True),
    ]
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        x, y = _place(tick, tick)
        parts += [
            _text(x, _TOP + _PLOT + 18, f"{tick:.1f}", "middle"),
            _text(_LEFT - 8, y + 4, f"{tick:.1f}", "end"),
        ]
    for number, ((name, bins), color) in enumerate(zip(series.items(), _COLORS[: len(series)], strict=True)):
        for group in bins:
            x, y = _place(group.confidence, group.good)
            parts += [
                _line((group.confidence, group.low), (group.confidence, group.high), color),
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}"><title>{name}: {group.count} results</title>'
                "</circle>",
            ]
        left, down = _LEFT + 16, _TOP + 22 + 20 * number
        parts += [
            f'<rect x="{left}" y="{down - 10}" width="10" height="10" fill="{color}"/>',
            _text(left + 18, down, name, "start"),
        ]
    middle = _TOP + _PLOT / 2
    parts += [
        _text(_LEFT + _PLOT / 2, _TOP + _PLOT + 42, "confidence", "middle"),
        f'<g transform="rotate(-90 18 {middle})">{_text(18, middle, f"share with {goodness}", "middle")}</g>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _place(confidence: float, good: float) -> tuple[float, float]:
    return _LEFT + _PLOT * confidence, _TOP + _PLOT * (1 - good)


def _line(start: tuple[float, float], end: tuple[float, float], color: str, *, dashed: bool = False) -> str:
    (x1, y1), (x2, y2) = _place(*start), _place(*end)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}" stroke-width="2"{dash}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escaped}</text>'
