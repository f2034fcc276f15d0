"""One TOML table read key by key: every value by its type, and what nobody asked for is refused."""

from __future__ import annotations

import math
from typing import Any


class Mistake(Exception):
    """A mistake in the file, told by table and key."""


class Table:
    """Reads the keys of one TOML table by type; `done` refuses what nobody asked for."""

    def __init__(self, name: str, values: object) -> None:
        if not isinstance(values, dict):
            raise Mistake(f"[{name}] is not a table")
        self.name = name
        self.values: dict[str, Any] = dict(values)

    def take(self, key: str) -> Any:
        if key not in self.values:
            raise Mistake(f"[{self.name}] has no {key!r}")
        return self.values.pop(key)

    def text(self, key: str) -> str:
        value = self.take(key)
        if not isinstance(value, str) or not value.strip():
            raise Mistake(f"[{self.name}] {key!r} is not a text with something in it")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        if default is not None and key not in self.values:
            return default
        value = self.take(key)
        if not isinstance(value, bool):
            raise Mistake(f"[{self.name}] {key!r} is neither true nor false")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.take(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise Mistake(f"[{self.name}] {key!r} is not a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        return self._number(key, self.take(key), low, high)

    def triple(self, key: str, low: float, high: float) -> tuple[float, float, float]:
        values = self.take(key)
        if not isinstance(values, list) or len(values) != 3:
            raise Mistake(f"[{self.name}] {key!r} is not a list of three numbers (red, green, blue)")
        red, green, blue = (self._number(key, value, low, high) for value in values)
        return red, green, blue

    def names(self, key: str) -> tuple[str, ...]:
        values = self.take(key)
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise Mistake(f"[{self.name}] {key!r} is not a list of names")
        return tuple(values)

    def _number(self, key: str, value: object, low: float, high: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Mistake(f"[{self.name}] {key!r} is not a number")
        if not low <= value <= high:
            raise Mistake(f"[{self.name}] {key!r} is {value}, outside {low}..{high}")
        return float(value)

    def table(self, key: str) -> Table:
        return Table(f"{self.name}.{key}", self.take(key))

    def tables(self, key: str) -> list[Table]:
        values = self.take(key)
        if not isinstance(values, list) or len(values) < 2:
            raise Mistake(f"[{self.name}] {key!r} is not a list of two tables or more")
        return [Table(f"{self.name}.{key}.{index}", value) for index, value in enumerate(values)]

    def done(self) -> None:
        if self.values:
            raise Mistake(f"[{self.name}] has unknown keys: {', '.join(sorted(self.values))}")
