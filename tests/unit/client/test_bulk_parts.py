"""The parts of `cutout bulk` that need no server: pace, names, keys, journal."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from cutout_client._bulk.items import make_items
from cutout_client._bulk.journal import Journal, JournalInUse
from cutout_client._bulk.manifest import Row, read_rows
from cutout_client._bulk.pace import Pace


async def test_the_pace_grows_by_one_a_round_and_halves_at_a_refusal() -> None:
    pace = Pace(8, start=4)
    for _ in range(4):
        pace.succeeded()
    assert 4.8 < pace.limit < 5.0
    for _ in range(100):
        pace.succeeded()
    assert pace.limit == 8
    pace.refused(0.2)
    pace.refused(0.1)  # of the same round: counted, but it halves nothing again
    assert (pace.limit, pace.refusals) == (4, 2)
    started = time.monotonic()
    await pace.enter()
    assert time.monotonic() - started >= 0.2
    for _ in range(10):
        pace.slow_down()
    assert pace.limit == 1


async def test_the_pace_bounds_what_is_in_flight() -> None:
    pace = Pace(2)
    await pace.enter()
    await pace.enter()
    third = asyncio.ensure_future(pace.enter())
    await asyncio.sleep(0.02)
    assert not third.done()
    pace.leave()
    await third
    assert (pace.in_flight, pace.peak) == (2, 2)


def test_names_stay_when_a_manifest_grows() -> None:
    rows = [Row("/x/a.jpg", "a.jpg"), Row("/x/a.png", "a.png"), Row("/y/A.png", None), Row("/x/a.jpg", "a.jpg")]
    items, repeated = make_items(rows, {"output": "webp"})
    assert repeated == 1
    names = [item.target for item in items]
    assert names[:2] == ["a.webp", "a.png.webp"]
    assert len({name.casefold() for name in names}) == 3
    added = [Row("/z/a.jpg", None), Row("/x/a.jpg", "a.jpg", options={"size": "1"})]
    longer, _ = make_items([*rows, *added], {"output": "webp"})
    assert [item.key for item in longer[:3]] == [item.key for item in items]
    assert len({item.target.casefold() for item in longer}) == 5


def test_the_key_follows_the_photo_and_the_options(tmp_path: Path) -> None:
    photo = tmp_path / "a.jpg"
    photo.write_bytes(b"one")

    def key(**options: str) -> str:
        return make_items(read_rows(str(tmp_path)), options)[0][0].key

    first = key()
    assert key() == first
    assert key(background="red") != first
    photo.write_bytes(b"other")
    assert key() != first


def test_a_journal_forgets_only_a_line_that_was_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.add("a", "done", "a.png", bytes=3)
    journal.add("b", "failed", "b.png", error={"code": "x"})
    with pytest.raises(JournalInUse):
        Journal(tmp_path)
    journal.close()
    path = tmp_path / "journal.ndjson"
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        again = Journal(tmp_path)
        lines = whole[:cut].count(b"\n")
        assert len(again.entries) == lines
        again.add("c", "done", "c.png")
        again.close()
        kept = [json.loads(line)["key"] for line in path.read_text().splitlines()]
        assert kept == [*["a", "b"][:lines], "c"]
    assert path.read_bytes().startswith(whole)
