"""Plots as plain SVG text: lines over numeric axes, and grouped bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 420, 70, 20, 64, 50
_COLORS = ("#1769aa", "#c2571a", "#3a8a4d", "#8a3a86", "#9aa4ad", "#b59b1e", "#4aa3c7", "#555555")

#: Points (x, y) of one line.
Line = Sequence[tuple[float, float]]


def line_chart(
    title: str, x_label: str, y_label: str, lines: Mapping[str, Line], marks: Mapping[str, float] | None = None
) -> str:
    """An SVG document: named lines, from zero on both axes; marks are named vertical rules."""
    points = [point for line in lines.values() for point in line if all(map(math.isfinite, point))]
    x_max = max([x for x, _ in points] + list((marks or {}).values()), default=1.0) or 1.0
    y_max = max((y for _, y in points), default=1.0) or 1.0
    x_step, y_step = _step(x_max), _step(y_max)
    y_max = math.ceil(y_max / y_step) * y_step
    parts = []

    def x_at(x: float) -> float:
        return _LEFT + x / x_max * (_WIDTH - _LEFT - _RIGHT)

    def y_at(y: float) -> float:
        return _HEIGHT - _BOTTOM - y / y_max * (_HEIGHT - _TOP - _BOTTOM)

    for number in range(round(y_max / y_step) + 1):
        y = y_at(number * y_step)
        parts += [
            _rule(_LEFT, y, _WIDTH - _RIGHT, y, "#e3e6e8"),
            _text(_LEFT - 6, y + 4, f"{number * y_step:g}", "end"),
        ]
    for number in range(int(x_max / x_step + 1e-9) + 1):
        parts.append(_text(x_at(number * x_step), _HEIGHT - _BOTTOM + 18, f"{number * x_step:g}", "middle"))
    for number, (name, x) in enumerate((marks or {}).items()):
        across, down = x_at(x), _TOP + 12 + 16 * number
        parts += [_rule(across, _TOP, across, _HEIGHT - _BOTTOM, "#888"), _text(across - 4, down, name, "end")]
    for line, color in zip(lines.values(), _COLORS * 3, strict=False):
        known = [(x_at(x), y_at(y)) for x, y in line if math.isfinite(x) and math.isfinite(y)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in known)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>')
        if len(known) <= 40:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in known]
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 10, x_label, "middle"))
    return _document(title, [*_legend(list(lines)), _text(_LEFT, _TOP - 6, y_label, "start"), *parts], _HEIGHT)


def bar_chart(title: str, unit: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """An SVG document with a group of bars for each key; equal names have equal colours."""
    names = list(dict.fromkeys(name for bars in groups.values() for name in bars))
    longest = max((v for bars in groups.values() for v in bars.values() if math.isfinite(v)), default=1.0) or 1.0
    down, left = 40, 220
    parts = []
    for group, bars in groups.items():
        parts.append(_text(12, down + 14, group, "start", 'font-weight="bold"'))
        down += 22
        for name, value in bars.items():
            if math.isfinite(value):
                figure = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
                length = value / longest * (_WIDTH - left - 110)
                color = _COLORS[names.index(name) % len(_COLORS)]
                parts += [
                    _text(left - 8, down + 12, name, "end"),
                    f'<rect x="{left}" y="{down}" width="{length:.1f}" height="16" fill="{color}"/>',
                    _text(left + length + 6, down + 12, f"{figure} {unit}", "start"),
                ]
                down += 20
        down += 8
    return _document(title, parts, down + 8)


def _step(largest: float) -> float:
    """A round step that cuts 0..largest into four to ten parts."""
    power = 10.0 ** math.floor(math.log10(largest))
    return next(factor * power for factor in (0.1, 0.2, 0.5, 1.0) if largest / (factor * power) <= 10)


def _legend(names: Sequence[str]) -> list[str]:
    parts, across = [], float(_LEFT)
    for name, color in zip(names, _COLORS * 3, strict=False):
        parts += [
            f'<rect x="{across:.0f}" y="32" width="12" height="12" fill="{color}"/>',
            _text(across + 16, 42, name, "start"),
        ]
        across += 30 + 7.2 * len(name)
    return parts


def _document(title: str, parts: Sequence[str], height: float) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif" font-size="13" fill="#222">'
    )
    ground = f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>'
    return "\n".join([head, ground, _text(12, 22, title, "start", 'font-weight="bold"'), *parts, "</svg>"]) + "\n"


def _rule(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, content: str, anchor: str, more: str = "") -> str:
    escaped = content.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escaped}</text>'
