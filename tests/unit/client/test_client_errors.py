"""The exception tree: total over the error table, drawn as it is, and whole after pickling."""

from __future__ import annotations

import pickle
import re

import pytest

import cutout_client
from cutout_client import _exceptions as tree
from cutout_core.contract import ERROR_TABLE, ErrorCode


def subclasses(kind: type[Exception]) -> set[type[Exception]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_code_of_the_table_has_an_exception() -> None:
    assert set(tree.EXCEPTION_OF) == set(ErrorCode)
    for kind in tree.EXCEPTION_OF.values():
        assert kind is not tree.ServiceError
        assert issubclass(kind, tree.ServiceError)


def test_every_service_exception_stands_for_a_code() -> None:
    assert set(tree.EXCEPTION_OF.values()) == subclasses(tree.ServiceError) - {tree.ServiceError}


@pytest.mark.parametrize("code", list(ErrorCode))
def test_retryable_is_the_tables_word(code: ErrorCode) -> None:
    error = tree.exception_type(code.value)("No.", code=code.value, retryable=not ERROR_TABLE[code].retryable)
    assert error.retryable is ERROR_TABLE[code].retryable


def test_a_newer_servers_code_is_a_plain_service_error() -> None:
    assert tree.exception_type("out_of_paint") is tree.ServiceError
    error = tree.ServiceError("No paint.", code="out_of_paint", retryable=True)
    assert (error.code, error.retryable) == ("out_of_paint", True)


def test_the_tree_is_drawn_with_every_exception_below_its_parent() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (tree.__doc__ or "").splitlines():
        if match := re.match(r"    ([│ ├└─]*)(\w+)(?=  )", line):
            drawn.append((len(match[1]) // 4, match[2]))
    assert {name for _, name in drawn} == {kind.__name__ for kind in subclasses(tree.CutoutClientError)}
    parents: dict[int, str] = {}
    for depth, name in drawn:
        parents[depth] = name
        if depth:
            assert issubclass(getattr(tree, name), getattr(tree, parents[depth - 1])), name


@pytest.mark.parametrize("kind", sorted(subclasses(tree.CutoutClientError), key=str))
def test_every_exception_is_exported_and_survives_pickling(kind: type[tree.CutoutClientError]) -> None:
    assert getattr(cutout_client, kind.__name__) is kind
    copy = pickle.loads(pickle.dumps(kind("Why.", request_id="id-1")))
    assert (type(copy), str(copy), copy.request_id) == (kind, "Why. (request id id-1)", "id-1")


def test_a_deadline_is_a_built_in_timeout_wherever_it_was_noticed() -> None:
    assert issubclass(tree.DeadlineExceeded, TimeoutError)
    assert issubclass(tree.TimeoutError_, TimeoutError)
    assert issubclass(tree.ConnectError, ConnectionError)


def test_the_text_has_code_message_and_request_id() -> None:
    error = tree.TooLarge("The file is larger than the limit.", code="too_many_bytes", request_id="id-7")
    assert str(error) == "too_many_bytes: The file is larger than the limit. (request id id-7)"
