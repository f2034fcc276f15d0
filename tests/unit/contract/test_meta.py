"""META: round trip, and garbage is a ValueError."""

from __future__ import annotations

import pytest

from cutout_core.contract import WARNING_MEANINGS, Box, CutoutError, ErrorCode, ResultWarning, RowError, RowMeta


def test_round_trip() -> None:
    meta = RowMeta(source_format="png", width=3, height=4, subject=Box(0, 1, 2, 3), coverage=0.5)
    meta.warn(ResultWarning.NO_SUBJECT)
    meta.warn(ResultWarning.NO_SUBJECT)
    meta.error = RowError.from_exception(CutoutError(ErrorCode.INVALID_OPTION, "why", field="size"))
    again = RowMeta.from_json(meta.to_json())
    assert again == meta
    assert again.warnings == ["no_subject"]
    assert again.error is not None
    assert again.error.to_exception().field == "size"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"error": {"code": "x"}, "subject": null}', b"\xff"])
def test_garbage(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own subclass of ValueError among them
        RowMeta.from_json(raw)


def test_every_warning_has_a_meaning() -> None:
    assert set(WARNING_MEANINGS) == set(ResultWarning)
