"""The README's tables say what the code says."""

from __future__ import annotations

from tests.readme_tables import DOCS_TABLES, MARKETPLACES, README, with_tables


def test_the_tables_are_up_to_date() -> None:
    text = README.read_text()
    assert with_tables(text) == text, "run: .venv/bin/python -m tests.readme_tables"


def test_the_tables_of_the_presets_are_up_to_date() -> None:
    text = MARKETPLACES.read_text()
    assert with_tables(text, DOCS_TABLES) == text, "run: .venv/bin/python -m tests.readme_tables"
