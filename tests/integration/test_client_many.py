"""`remove_many` of both clients over both protocols, against a scripted server and against the gateway."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from cutout_client import (
    AsyncClient,
    Client,
    CutoutResult,
    InvalidImage,
    ManyItem,
    ManyOutcome,
    MockTransport,
    Overloaded,
    Request,
    Retry,
    TimeoutError_,
    TooLarge,
)
from cutout_core.contract import ErrorCode
from tests.integration.client_server import RESULT, Answer, ScriptedServer, serve_grpc, serve_http
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess

QUICK = Retry(attempts=3, base=0.01)


@pytest.fixture(params=["http", "grpc"])
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with serve_http() if request.param == "http" else serve_grpc() as script:
        yield script


@pytest.fixture
def streaming() -> Iterator[ScriptedServer]:
    with serve_grpc() as script:
        yield script


def run(kind: str, url: str, images: Any, **arguments: Any) -> list[ManyOutcome]:
    if kind == "sync":
        with Client(url, retry=QUICK) as client:
            return list(client.remove_many(images, **arguments))

    async def collect() -> list[ManyOutcome]:
        async with AsyncClient(url, retry=QUICK) as client:
            return [outcome async for outcome in client.remove_many(images, **arguments)]

    return asyncio.run(collect())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_every_image_has_one_outcome(server: ScriptedServer, kind: str) -> None:
    images = [b"0", ManyItem(b"1", {"output": "webp"}, key="one"), *(str(n).encode() for n in range(2, 20))]
    found = run(kind, server.url, images, options={"quality": "fast", "output": "png"}, in_flight=5)
    assert sorted(outcome.index for outcome in found) == list(range(20))
    for outcome in found:
        assert outcome.error is None
        assert outcome.result is not None
        assert outcome.result.data == RESULT
        assert outcome.item.image == str(outcome.index).encode()
        assert outcome.item.key == ("one" if outcome.index == 1 else None)
    options = {seen.image: seen.options for seen in server.seen}
    assert options[b"0"] == {"quality": "fast", "output": "png"}
    assert options[b"1"] == {"quality": "fast", "output": "webp"}
    assert len(server.seen) == 20
    assert all(seen.timeout_ms is not None and 0 < seen.timeout_ms <= 60_000 for seen in server.seen)


def test_errors_of_one_item_are_its_own(server: ScriptedServer) -> None:
    server.answers.extend([Answer(), Answer(ErrorCode.NOT_AN_IMAGE), Answer()])
    found = run("async", server.url, [b"a", b"b", "/no/such/photo.jpg", b"c"], in_flight=1)
    by_index = {outcome.index: outcome for outcome in found}
    assert isinstance(by_index[1].error, InvalidImage)
    assert by_index[1].error.code == "not_an_image"
    assert isinstance(by_index[2].error, FileNotFoundError)
    assert by_index[0].result is not None
    assert by_index[3].result is not None


def test_what_may_pass_is_tried_again(server: ScriptedServer) -> None:
    server.answers.extend([Answer(ErrorCode.OVERLOADED), Answer(ErrorCode.MODEL_UNAVAILABLE)])
    assert [outcome.error for outcome in run("sync", server.url, [b"a"])] == [None]
    assert len(server.seen) == 3
    server.answers.extend([Answer(ErrorCode.OVERLOADED, retry_after_s=0)] * 3)
    (outcome,) = run("sync", server.url, [b"a"])
    assert isinstance(outcome.error, Overloaded)
    assert outcome.error.retry_after_s == 0


def test_a_stream_that_breaks_is_opened_again_and_nothing_is_lost(streaming: ScriptedServer) -> None:
    streaming.answers.extend([Answer(), Answer(), Answer(hang_up=True)])
    found = run("async", streaming.url, [str(n).encode() for n in range(12)], in_flight=4)
    assert [outcome.error for outcome in found] == [None] * 12
    assert streaming.streams == 2
    assert len({seen.image for seen in streaming.seen}) == 12


def test_the_iterable_is_read_no_further_than_needed(server: ScriptedServer) -> None:
    taken = 0

    def photos() -> Iterator[bytes]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield str(number).encode()

    with Client(server.url) as client:
        outcomes = client.remove_many(photos(), in_flight=3)
        next(outcomes)
        time.sleep(0.2)
        assert taken <= 8
        outcomes.close()
    assert taken <= 8


async def test_an_asynchronous_iterable_may_be_slow(server: ScriptedServer) -> None:
    """An outcome does not wait for the next photo."""
    first_seen = asyncio.Event()

    async def photos() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(first_seen.wait(), 10)
        yield b"second"

    async with AsyncClient(server.url) as client:
        async for outcome in client.remove_many(photos()):
            if outcome.index == 0:
                first_seen.set()
    assert len(server.seen) == 2


def test_an_error_of_the_iterable_comes_after_the_outcomes(server: ScriptedServer) -> None:
    def photos() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("the list is broken")

    found = []
    with Client(server.url) as client, pytest.raises(RuntimeError, match="the list is broken"):
        found.extend(outcome for outcome in _noting(client.remove_many(photos()), found))
    assert [outcome.index for outcome in found] == [0]


def _noting(outcomes: Iterator[ManyOutcome], found: list[ManyOutcome]) -> Iterator[ManyOutcome]:
    for outcome in outcomes:
        found.append(outcome)
        yield from ()


def test_one_late_item_does_not_end_the_stream(streaming: ScriptedServer) -> None:
    streaming.answers.append(Answer(delay_s=0.6))
    found = run("async", streaming.url, [b"late", b"good"], timeout=0.4, in_flight=1)
    by_index = {outcome.index: outcome for outcome in found}
    assert isinstance(by_index[0].error, TimeoutError_)
    assert by_index[1].error is None
    assert streaming.streams == 1


def test_it_works_with_a_transport_of_ones_own() -> None:
    def handler(request: Request) -> CutoutResult:
        return CutoutResult(data=b"x", content_type="image/png", width=1, height=1, source_width=1, source_height=1)

    with Client(transport=MockTransport(handler)) as client:
        assert len(list(client.remove_many([b"a", b"b"]))) == 2
    with pytest.raises(RuntimeError, match="closed"):
        client.remove_many([b"a"])
    with Client(transport=MockTransport(handler)) as client, pytest.raises(ValueError, match="in_flight"):
        list(client.remove_many([b"a"], in_flight=0))


def test_the_gateway_answers_all_though_one_is_beyond_any_limit(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    """Two megabytes are more than this server's gRPC takes at all, which ends the stream; the others go on."""
    images = [small_jpeg] * 6 + [bytes(2_000_000), bytes(2_100_000)] + [small_jpeg] * 6
    with Client(f"grpc://{gateway.grpc}", retry=QUICK) as client:
        found = {outcome.index: outcome for outcome in client.remove_many(images, in_flight=6)}
    assert isinstance(found[6].error, TooLarge)
    assert isinstance(found[7].error, TooLarge)
    others = [outcome for index, outcome in found.items() if index not in (6, 7)]
    assert [outcome.error for outcome in others] == [None] * 12


async def test_leaving_early_cancels_what_is_in_work(
    gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 10.0
    async with AsyncClient(f"grpc://{gateway.grpc}") as client:
        async with aclosing(client.remove_many([small_jpeg] * 3, in_flight=3)) as outcomes:
            waiting = asyncio.ensure_future(anext(outcomes))
            await asyncio.to_thread(triton.wait_for_images, 1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert await asyncio.to_thread(triton.cancelled.wait, 5)
