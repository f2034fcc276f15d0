"""Who may call: keys, their rates, changes of the list, and that no key is ever told."""

from __future__ import annotations

import hmac
import logging
import os
from pathlib import Path

import pytest

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.access import Access, Caller, describe_access
from cutout_gateway.keys import ApiKey, hash_key

SHOP, OPS, SLOW = "cutout_shop-0123456789", "cutout_ops-0123456789", "cutout_slow-0123456789"
LIST = "\n".join(
    key.line
    for key in (
        ApiKey("shop", hash_key(SHOP)),
        ApiKey("ops", hash_key(OPS), admin=True),
        ApiKey("slow", hash_key(SLOW), 10),
    )
)


class Observer:
    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def key_charged(self, name: str, megapixels: int) -> None:
        self.events.append(("charged", name, megapixels))

    def key_refused(self, name: str) -> None:
        self.events.append(("refused", name))

    def key_removed(self, name: str) -> None:
        self.events.append(("removed", name))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def observer() -> Observer:
    return Observer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def access(observer: Observer, clock: Clock) -> Access:
    return Access(observer, keys=LIST, clock=clock)


def refusal(access: Access, headers: dict[str, str], *, admin: bool = False) -> CutoutError:
    with pytest.raises(CutoutError) as caught:
        access.authorize(headers, admin=admin)
    return caught.value


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": SHOP},
        {"x-api-key": f" {SHOP} "},
        {"authorization": f"Bearer {SHOP}"},
        {"authorization": f"bearer  {SHOP}"},
        {"x-api-key": SHOP, "authorization": "Basic dXNlcjpwYXNz"},
        {"x-api-key": "", "authorization": f"Bearer {SHOP}"},
    ],
)
def test_a_key_in_either_header(access: Access, headers: dict[str, str]) -> None:
    assert access.authorize(headers).name == "shop"


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": " "}, {"authorization": f"Basic {SHOP}"}, {"authorization": "Bearer"}]
)
def test_no_key(access: Access, headers: dict[str, str]) -> None:
    error = refusal(access, headers)
    assert (error.code, error.row.http_status, error.row.grpc_status) == (ErrorCode.MISSING_KEY, 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("key", [SHOP[:-1], SHOP + "x", SHOP.upper(), hash_key(SHOP).hex(), "x" * 60_000, "é\udcff"])
def test_a_wrong_key_is_refused_and_not_told(access: Access, key: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        error = refusal(access, {"x-api-key": key})
    assert (error.code, error.row.http_status) == (ErrorCode.INVALID_KEY, 401)
    assert key not in str(error) + caplog.text


def test_every_key_is_compared_in_constant_time(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    access.authorize({"x-api-key": SHOP})
    assert compared == [hash_key(SHOP), hash_key(OPS), hash_key(SLOW)]


def test_admin(access: Access) -> None:
    assert access.authorize({"x-api-key": OPS}, admin=True).name == "ops"
    error = refusal(access, {"x-api-key": SHOP}, admin=True)
    assert (error.code, error.row.http_status, error.row.grpc_status) == (
        ErrorCode.FORBIDDEN,
        403,
        "PERMISSION_DENIED",
    )


def test_without_keys_everybody_may_call_but_nobody_is_admin(observer: Observer) -> None:
    access = Access(observer)
    for headers in ({}, {"x-api-key": "whatever"}):
        caller = access.authorize(headers)
        assert caller.name is None
        assert caller.rate_headers() == {}
        caller.check()
        caller.charge(10**9)
    assert refusal(access, {}, admin=True).code is ErrorCode.FORBIDDEN
    assert observer.events == []


@pytest.mark.parametrize("text", ["", "# nobody yet\n"])
def test_an_empty_list_lets_nobody_in(observer: Observer, text: str) -> None:
    access = Access(observer, keys=text)
    assert not access.is_open
    assert refusal(access, {"x-api-key": SHOP}).code is ErrorCode.INVALID_KEY


def test_the_rate(access: Access, observer: Observer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 5000.0)
    caller = access.authorize({"x-api-key": SLOW})
    assert caller.rate_headers() == {
        "X-RateLimit-Limit": "10",
        "X-RateLimit-Remaining": "10",
        "X-RateLimit-Reset": "5000",
    }
    caller.charge(4_000_000)
    caller.charge(100)
    with pytest.raises(CutoutError) as caught:
        access.authorize({"x-api-key": SLOW}).charge(6_000_000)
    assert caught.value.code is ErrorCode.RATE_LIMITED
    assert caught.value.retry_after_s == pytest.approx(6.0)
    assert caller.rate_headers() == {
        "X-RateLimit-Limit": "10",
        "X-RateLimit-Remaining": "5",
        "X-RateLimit-Reset": "5030",
    }
    caller.charge(5_000_000)
    with pytest.raises(CutoutError) as caught:
        caller.check()
    assert caught.value.row.grpc_status == "RESOURCE_EXHAUSTED"
    clock.now += 6
    caller.check()
    assert observer.events == [
        ("charged", "slow", 4),
        ("charged", "slow", 1),
        ("refused", "slow"),
        ("charged", "slow", 5),
        ("refused", "slow"),
    ]


def test_one_keys_use_is_not_anothers(access: Access) -> None:
    access.authorize({"x-api-key": SLOW}).charge(10_000_000)
    shop = access.authorize({"x-api-key": SHOP})
    shop.charge(10**9)
    shop.check()
    assert shop.rate_headers() == {}


class Watched:
    """An Access over a file, and the means to change both."""

    def __init__(self, file: Path, observer: Observer, clock: Clock) -> None:
        self.file, self.clock = file, clock
        file.write_text(LIST)
        self.access = Access(observer, file=file, clock=clock)

    def write(self, text: str) -> None:
        temporary = self.file.with_suffix(".new")
        temporary.write_text(text)
        temporary.replace(self.file)
        self.clock.now += 1.5

    def caller(self, key: str) -> Caller | None:
        try:
            return self.access.authorize({"x-api-key": key})
        except CutoutError:
            return None


@pytest.fixture
def watched(tmp_path: Path, observer: Observer, clock: Clock) -> Watched:
    return Watched(tmp_path / "keys", observer, clock)


def test_a_changed_file_is_read_again(watched: Watched, observer: Observer) -> None:
    assert watched.caller(SHOP) is not None
    new = "cutout_new-0123456789"
    watched.write(LIST.splitlines()[1] + "\n" + ApiKey("new", hash_key(new)).line)
    assert watched.caller(SHOP) is None
    assert watched.caller(new) is not None
    assert sorted(observer.events) == [("removed", "shop"), ("removed", "slow")]
    watched.write("")
    assert watched.caller(OPS) is None, "an emptied list lets nobody in"


def test_a_change_takes_at_most_a_second_and_the_file_is_not_looked_at_more_often(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path: (looks.append(path), real(path))[1])
    for _ in range(20):
        watched.clock.now += 0.1
        watched.caller(SHOP)
    assert 1 <= len(looks) <= 2


def test_the_budget_outlives_a_reload_but_not_a_new_rate(watched: Watched) -> None:
    caller = watched.caller(SLOW)
    assert caller is not None
    caller.charge(10_000_000)
    watched.write(LIST + "\n# a comment")
    again = watched.caller(SLOW)
    assert again is not None
    assert again is not caller
    with pytest.raises(CutoutError):
        again.check()
    watched.write(LIST.replace(" 10", " 20"))
    raised = watched.caller(SLOW)
    assert raised is not None
    assert raised.rate_headers()["X-RateLimit-Remaining"] == "20"


@pytest.mark.parametrize("text", ["shop nonsense-secret", None])
def test_a_file_that_cannot_be_read_leaves_the_old_keys_and_says_so_once(
    watched: Watched, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    if text is None:
        watched.file.unlink()
        watched.clock.now += 1.5
    else:
        watched.write(text)
    for _ in range(3):
        assert watched.caller(SHOP) is not None
        watched.clock.now += 1.5
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    assert "secret" not in caplog.text
    watched.write(LIST.splitlines()[0])
    assert watched.caller(SHOP) is not None
    assert watched.caller(OPS) is None


def test_a_first_read_that_fails_stops_the_start(tmp_path: Path, observer: Observer) -> None:
    with pytest.raises(OSError, match="nowhere"):
        Access(observer, file=tmp_path / "nowhere")
    (tmp_path / "keys").write_text("shop")
    with pytest.raises(ValueError, match="line 1 of the API keys"):
        Access(observer, file=tmp_path / "keys")


@pytest.mark.parametrize(
    ("keys", "hosts", "level", "words"),
    [
        (None, ("127.0.0.1", "::1", "localhost"), logging.INFO, "loopback only"),
        (None, ("127.0.0.1", "0.0.0.0"), logging.WARNING, "NO API KEYS, and listening on 0.0.0.0"),
        (None, ("::", "cutout.example"), logging.WARNING, "::, cutout.example"),
        (LIST, ("0.0.0.0",), logging.INFO, "one of 3 API keys"),
    ],
)
def test_the_start_says_who_may_call(
    observer: Observer,
    caplog: pytest.LogCaptureFixture,
    keys: str | None,
    hosts: tuple[str, ...],
    level: int,
    words: str,
) -> None:
    with caplog.at_level(logging.INFO):
        describe_access(Access(observer, keys=keys), hosts)
    (record,) = caplog.records
    assert record.levelno == level
    assert words in record.getMessage()
