"""Calls of the client against a real server: both protocols, blocking and asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cutout_client import (
    AsyncClient,
    Box,
    Client,
    ConnectError,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    Retry,
    ServiceError,
    Timeout,
    TimeoutError_,
    TooLarge,
    TransportError,
    UnsupportedOperation,
)
from cutout_client._exceptions import EXCEPTION_OF
from cutout_core.contract import ERROR_TABLE, ErrorCode, Options
from tests.integration.client_callers import ASYNC, SYNC, Caller
from tests.integration.client_server import INFO, RESULT, TIMINGS, Answer, ScriptedServer, serve_grpc, serve_http

SERVERS = {"http": serve_http, "grpc": serve_grpc}
#: How long a server may keep a caller waiting that should have left long before: half of it is never noise.
LONG_S = 10.0


@pytest.fixture(scope="module", params=list(SERVERS))
def _server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with SERVERS[request.param]() as server:
        yield server


@pytest.fixture
def server(_server: ScriptedServer) -> ScriptedServer:
    """The scripted server of each protocol, as new."""
    _server.ready = True
    _server.answers.clear()
    _server.seen.clear()
    _server.arrived.clear()
    _server.cancelled.clear()
    return _server


@pytest.fixture(params=[SYNC, ASYNC])
def caller(request: pytest.FixtureRequest, server: ScriptedServer) -> Caller:
    """Each client on each protocol."""
    return Caller(request.param, server.url)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A loopback port that is bound, so that nobody else takes it, and refuses connections."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_a_result_is_whole(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(warnings=("animated_first_frame", "color_profile_ignored")))
    result = caller.cut_out(request_id="id-1")
    assert (result.data, result.content_type) == (RESULT, "image/png")
    assert (result.width, result.height, result.source_width, result.source_height) == (40, 30, 80, 60)
    assert (result.source_format, result.quality, result.request_id) == ("jpeg", "standard", "id-1")
    assert (result.mode, result.confidence) == ("portrait", 0.9375)
    assert (result.subject, result.coverage) == (Box(1, 2, 30, 20), 0.25)
    assert result.warnings == ("animated_first_frame", "color_profile_ignored")
    assert result.timings_ms == TIMINGS


def test_no_subject(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(subject=False, warnings=("no_subject",)))
    result = caller.cut_out()
    assert (result.subject, result.warnings) == (None, ("no_subject",))


def test_options_image_and_deadline_arrive_as_given(caller: Caller, server: ScriptedServer) -> None:
    options = {"output": "webp", "background": "#ff0000&x=1 ä", "icc": "srgb", "quality": "high", "size": 1.5}
    options |= {"mode": "portrait", "decontaminate": False, "cleanup": True}
    image = bytes(range(256)) * 4000
    assert caller.cut_out(image, timeout=9, **options).content_type == "image/webp"
    seen = server.seen[0]
    assert seen.image == image
    assert seen.options == {**options, "size": "1.5", "decontaminate": "False", "cleanup": "True"}
    assert Options.parse({"decontaminate": "False", "cleanup": "True"}) == Options(decontaminate=False, cleanup=True)
    assert len(seen.request_id) == 32
    assert seen.timeout_ms == pytest.approx(9000, rel=0.05)


def test_a_call_without_a_limit_has_no_deadline(caller: Caller, server: ScriptedServer) -> None:
    caller.timeout = Timeout(total=None)
    caller.cut_out()
    assert server.seen[0].timeout_ms is None


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_row_of_the_error_table_is_its_exception(caller: Caller, server: ScriptedServer, code: ErrorCode) -> None:
    caller.retry = Retry(attempts=1)
    server.answers.append(Answer(code, option="size"))
    with pytest.raises(EXCEPTION_OF[code]) as caught:
        caller.cut_out(request_id="id-2")
    error, row = caught.value, ERROR_TABLE[code]
    assert (error.code, error.message, error.field, error.request_id) == (code.value, row.meaning, "size", "id-2")
    assert error.retryable is row.retryable
    assert error.http_status == (row.http_status if server.url.startswith("http") else None)
    assert error.grpc_status == (row.grpc_status if server.url.startswith("grpc") else None)


def test_a_newer_servers_error(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer("out_of_paint"))
    with pytest.raises(ServiceError) as caught:
        caller.cut_out()
    assert (type(caught.value), caught.value.code) == (ServiceError, "out_of_paint")
    assert len(server.seen) == 1


def test_overload_is_retried_after_the_time_that_the_server_names(caller: Caller, server: ScriptedServer) -> None:
    server.answers.extend([Answer(ErrorCode.OVERLOADED, retry_after_s=7), Answer(ErrorCode.MODEL_UNAVAILABLE)])
    assert caller.cut_out().data == RESULT
    assert caller.time.pauses == [pytest.approx(7.1), pytest.approx(0.2)]
    assert len({seen.request_id for seen in server.seen}) == 1
    assert len(server.seen) == 3


def test_retries_are_bounded(caller: Caller, server: ScriptedServer) -> None:
    server.answers.extend([Answer(ErrorCode.OVERLOADED)] * 5)
    caller.retry = Retry(attempts=4)
    with pytest.raises(Overloaded):
        caller.cut_out()
    assert len(server.seen) == 4


def test_a_bad_image_is_not_retried(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(ErrorCode.NOT_AN_IMAGE))
    with pytest.raises(InvalidImage):
        caller.cut_out()
    assert (len(server.seen), caller.time.pauses) == (1, [])


def test_no_pause_beyond_the_total_time(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(ErrorCode.OVERLOADED, retry_after_s=3))
    with pytest.raises(Overloaded) as caught:
        caller.cut_out(timeout=2)
    assert (caught.value.retry_after_s, caller.time.pauses) == (3.0, [])


def test_a_connection_that_breaks_is_retried(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(hang_up=True))
    assert caller.cut_out().data == RESULT
    assert caller.time.pauses == [pytest.approx(0.1)]


def test_the_total_time_ends_a_slow_answer(caller: Caller, server: ScriptedServer) -> None:
    server.answers.append(Answer(delay_s=LONG_S))
    began = time.monotonic()
    with pytest.raises(TimeoutError_) as caught:
        caller.cut_out(timeout=0.15, request_id="id-3")
    assert time.monotonic() - began < LONG_S / 2
    assert caught.value.request_id == "id-3"
    assert len(server.seen) == 1


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_listens(kind: str, scheme: str, silent_port: int) -> None:
    caller = Caller(kind, f"{scheme}://127.0.0.1:{silent_port}")
    with pytest.raises(ConnectError):
        caller.cut_out()
    assert len(caller.time.pauses) == 2
    with pytest.raises(ConnectError):
        caller.ready()
    assert len(caller.time.pauses) == 2, "readiness is asked once"


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_a_server_that_accepts_and_says_nothing(kind: str, scheme: str) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        caller = Caller(kind, f"{scheme}://127.0.0.1:{deaf.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(TransportError):
            caller.cut_out(timeout=0.2)
    assert time.monotonic() - began < LONG_S / 2


def test_readiness(caller: Caller, server: ScriptedServer) -> None:
    assert caller.ready() is True
    server.ready = False
    assert caller.ready() is False


def test_info(caller: Caller) -> None:
    if caller.url.startswith("http"):
        assert caller.info() == INFO
    else:
        with pytest.raises(UnsupportedOperation, match="HTTP only"):
            caller.info()


def test_results_and_photos_of_many_megabytes(caller: Caller, server: ScriptedServer) -> None:
    image = bytes(20_000_000)
    assert caller.cut_out(image).data == RESULT
    assert len(server.seen[0].image) == len(image)


async def test_cancelling_a_call_tells_the_server(server: ScriptedServer) -> None:
    server.answers.append(Answer(delay_s=LONG_S))
    async with AsyncClient(server.url) as client:
        call = asyncio.create_task(client.remove_background(b"photo"))
        await asyncio.to_thread(server.arrived.wait, 2)
        call.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert time.monotonic() - began < LONG_S / 2
        assert (await client.remove_background(b"photo")).data == RESULT
    if server.url.startswith("grpc"):
        assert await asyncio.to_thread(server.cancelled.wait, 2)


def test_one_client_serves_many_threads(server: ScriptedServer) -> None:
    with Client(server.url) as client, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(client.remove_background, [b"photo"] * 40))
    assert [result.data for result in results] == [RESULT] * 40
    assert len({result.request_id for result in results}) == 40


def test_a_refusal_before_the_upload_ends_is_understood() -> None:
    with serve_http() as server, Client(server.url) as client:
        server.answers.append(Answer(ErrorCode.TOO_MANY_BYTES, early=True))
        with pytest.raises(TooLarge):
            client.remove_background(bytes(3_000_000))


def test_a_trickling_answer_is_cut_off_at_the_total_time() -> None:
    for kind in (SYNC, ASYNC):
        with serve_http() as server:
            server.answers.append(Answer(trickle_s=LONG_S / len(RESULT)))
            began = time.monotonic()
            with pytest.raises(TimeoutError_):
                Caller(kind, server.url).cut_out(timeout=0.2)
            assert time.monotonic() - began < LONG_S / 2


def test_a_message_beyond_grpcs_limit_is_too_large() -> None:
    with serve_grpc() as server, Client(server.url) as client, pytest.raises(TooLarge) as caught:
        client.remove_background(bytes((64 << 20) + 1))
    assert caught.value.code == "too_many_bytes"


def test_grpc_finds_a_server_that_comes_late() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        client = Client(f"grpc://127.0.0.1:{port}", retry=Retry(attempts=1))
        with pytest.raises(ConnectError):
            client.remove_background(b"photo")
    with client, serve_grpc(port) as server:
        deadline = time.monotonic() + 3
        while not server.seen and time.monotonic() < deadline:
            with contextlib.suppress(ConnectError):
                assert client.remove_background(b"photo").data == RESULT
            time.sleep(0.05)
        assert len(server.seen) == 1


@pytest.mark.parametrize("kind", [SYNC, ASYNC])
def test_the_wrong_kind_of_server(kind: str) -> None:
    with serve_http() as http, serve_grpc() as grpc:
        crossed = http.url.replace("http", "grpc"), grpc.url.replace("grpc", "http")
        for url in crossed:
            with pytest.raises(TransportError):
                Caller(kind, url, retry=Retry(attempts=1)).cut_out(timeout=1)
        with pytest.raises(InvalidRequest) as caught:
            Caller(kind, f"{http.url}/elsewhere").info()
        assert caught.value.code == "not_found"


def test_closing_leaves_no_thread_and_no_socket_behind() -> None:
    before = threading.active_count()
    for serve in (serve_http, serve_grpc):
        with serve() as server:
            for kind in (SYNC, ASYNC):
                Caller(kind, server.url).cut_out()
    deadline = time.monotonic() + 2
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before
