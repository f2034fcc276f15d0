"""The error table is total and says something a caller can use."""

from __future__ import annotations

import grpc

from cutout_core.contract import ERROR_TABLE, ErrorCode


def test_the_table_is_total() -> None:
    assert set(ERROR_TABLE) == set(ErrorCode)


def test_every_row_is_sound() -> None:
    for code, row in ERROR_TABLE.items():
        assert row.code is code
        assert 400 <= row.http_status <= 599
        assert row.grpc_status in grpc.StatusCode.__members__
        assert row.meaning.endswith(".")
        assert row.metric_label == code.value


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    retryable = {code for code, row in ERROR_TABLE.items() if row.retryable}
    assert retryable == {
        ErrorCode.RATE_LIMITED,
        ErrorCode.REQUEST_TIMEOUT,
        ErrorCode.OVERLOADED,
        ErrorCode.MODEL_UNAVAILABLE,
        ErrorCode.SHUTTING_DOWN,
    }
