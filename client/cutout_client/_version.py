"""The version of the distribution; a test holds it equal to `pyproject.toml`'s."""

from __future__ import annotations

__version__ = "0.1.0"
