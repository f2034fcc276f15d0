"""A bar chart as a plain SVG file: band error of every method, end to end and given the true coarse mask."""

from __future__ import annotations

from collections.abc import Sequence

from cutout_build.quality.benchmark import Row
from cutout_build.quality.methods import OURS

_LEFT, _WIDTH, _BAR, _GAP = 240, 760, 20, 6
_OURS, _OTHERS = "#1769aa", "#9aa4ad"


def band_chart(rows: Sequence[Row], title: str) -> str:
    """An SVG document with one bar a row, in the order given; ours are blue. A rule separates the settings."""
    longest = max((row.scores.band for row in rows), default=1.0) or 1.0
    parts = []
    down = 44
    setting = ""
    for row in rows:
        if row.setting != setting:
            setting = row.setting
            parts.append(_text(12, down + 14, setting, "start", 'font-weight="bold"'))
            down += _BAR + _GAP
        length = row.scores.band / longest * (_WIDTH - _LEFT - 70)
        color = _OURS if row.method in OURS else _OTHERS
        parts += [
            _text(_LEFT - 8, down + 14, row.method, "end"),
            f'<rect x="{_LEFT}" y="{down}" width="{length:.1f}" height="{_BAR}" fill="{color}"/>',
            _text(_LEFT + length + 6, down + 14, f"{row.scores.band:.1f}", "start"),
        ]
        down += _BAR + _GAP
    height = down + 12
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="13" fill="#222">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([head, ground, _text(12, 24, title, "start"), *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, content: str, anchor: str, more: str = "") -> str:
    escaped = content.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escaped}</text>'
