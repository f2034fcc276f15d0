"""Downloads: what is refused before a connection, at the address, after a redirect and while reading."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Admission, Budget
from cutout_gateway.public_address import is_public
from cutout_gateway.url_fetch import FetchRules, UrlFetcher
from tests.unit.gateway.web import Exchange, Web, serve_web

PHOTO = b"\xff\xd8\xff the photo"
LOOPBACK = "127.0.0.1"


@pytest.fixture(scope="module")
def _web() -> Iterator[Web]:
    with serve_web() as web:
        yield web


@pytest.fixture
def web(_web: Web) -> Web:
    """One photo, and nothing asked yet."""
    _web.pages.clear()
    _web.asked.clear()
    _web.serve("/photo.jpg", PHOTO, Content_Type="text/html")
    return _web


class Names:
    """A resolver of a test's own; it counts what it was asked."""

    def __init__(self, **addresses: Sequence[str]) -> None:
        self._addresses = {name.replace("_", "."): list(found) for name, found in addresses.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        if host not in self._addresses:
            raise OSError("Name or service not known")
        return self._addresses[host]


def fetcher(names: Names | None = None, *, local: bool = True, **rules: Any) -> UrlFetcher:
    """A fetcher for any port; `local` lets it go to loopback, and nowhere else that is not public."""
    settings = FetchRules(**({"enabled": True, "ports": None, "max_bytes": 1000, "timeout_s": 5.0} | rules))
    names = names or Names(photos_test=[LOOPBACK])
    return UrlFetcher(
        settings, resolve=names, is_allowed=lambda address: is_public(address) or (local and address == LOOPBACK)
    )


async def refusal(fetch: UrlFetcher, url: str, code: ErrorCode) -> str:
    with pytest.raises(CutoutError) as caught:
        await fetch.fetch(url, "image_url")
    assert caught.value.code is code, caught.value
    assert caught.value.field == "image_url"
    for secret in ("127.0.0.1", "10.0.0", "Traceback", "Errno", "photos.test"):
        assert secret not in caught.value.message
    return caught.value.message


async def test_a_download_to_the_checked_address_under_its_own_name(web: Web) -> None:
    names = Names(photos_test=[LOOPBACK])
    assert await fetcher(names).fetch(f"http://Photos.test:{web.port}/photo.jpg", "image_url") == PHOTO
    ((path, headers),) = web.asked
    assert path == "/photo.jpg"
    assert headers["Host"] == f"photos.test:{web.port}"
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(headers)
    assert names.asked == ["photos.test"]


async def test_it_is_off_unless_it_was_switched_on(web: Web) -> None:
    assert FetchRules().enabled is False
    message = await refusal(
        fetcher(enabled=False), f"http://photos.test:{web.port}/photo.jpg", ErrorCode.URL_FETCHING_OFF
    )
    assert "CUTOUT_FETCH_URLS" in message
    assert web.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "", "photo.jpg", "//photos.test/x", "ftp://photos.test/x", "file:///etc/passwd", "gopher://photos.test/x",
        "data:image/png;base64,AAAA", "http://", "http:///x", "http://user@photos.test/", "http://user:pw@photos.test/",
        "http://:pw@photos.test/", "http://photos.test:99999/", "http://photos.test:x/", "http://[::1/", "http://a b/",
        "http://photos.test/\r\nHost: evil", "http://photos.test\0.evil/", "http://xn--\u0080/", "jar:http://photos.test/!/",
        "http://photos.test/" + "x" * 5000,
    ],
)  # fmt: skip
async def test_a_url_that_is_refused_before_any_lookup(url: str) -> None:
    names = Names(photos_test=[LOOPBACK])
    await refusal(fetcher(names), url, ErrorCode.INVALID_URL)
    assert names.asked == []


@pytest.mark.parametrize("port", [22, 25, 6379, 8080])
async def test_only_the_webs_own_ports_by_default(port: int) -> None:
    names = Names(photos_test=["8.8.8.8"])
    fetch = UrlFetcher(FetchRules(enabled=True), resolve=names)
    await refusal(fetch, f"http://photos.test:{port}/", ErrorCode.INVALID_URL)
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        [LOOPBACK], ["10.0.0.5"], ["169.254.169.254"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"], ["fe80::1%lo"], ["100.64.0.1"], ["224.0.0.1"], ["0.0.0.0"], [],
        ["8.8.8.8", LOOPBACK], [LOOPBACK, "8.8.8.8"],
    ],
)  # fmt: skip
async def test_a_name_with_an_address_that_is_not_public(web: Web, addresses: list[str]) -> None:
    """One bad address is enough; and a name that does not exist gets the same sentence."""
    fetch = fetcher(Names(photos_test=addresses), local=False)
    message = await refusal(fetch, f"http://photos.test:{web.port}/photo.jpg", ErrorCode.INVALID_URL)
    assert message == await refusal(fetch, f"http://absent.test:{web.port}/photo.jpg", ErrorCode.INVALID_URL)
    assert web.asked == []


@pytest.mark.parametrize(
    "host", [LOOPBACK, "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "localhost", "0", "[::ffff:7f00:1]"]
)
async def test_other_spellings_of_loopback_by_the_systems_own_resolver(web: Web, host: str) -> None:
    fetch = UrlFetcher(FetchRules(enabled=True, ports=None))
    await refusal(fetch, f"http://{host}:{web.port}/photo.jpg", ErrorCode.INVALID_URL)
    assert web.asked == []


async def test_the_name_is_looked_up_once_so_that_it_cannot_change_after_the_check(web: Web) -> None:
    answers = iter([[LOOPBACK], ["10.0.0.5"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    checked: list[str] = []
    rules = FetchRules(enabled=True, ports=None)
    fetch = UrlFetcher(rules, resolve=rebinding, is_allowed=lambda address: checked.append(address) is None)
    assert await fetch.fetch(f"http://photos.test:{web.port}/photo.jpg", "url") == PHOTO
    assert checked == [LOOPBACK]


async def test_the_next_address_where_the_first_does_not_answer(web: Web) -> None:
    names = Names(photos_test=["127.0.0.2", LOOPBACK])
    rules = FetchRules(enabled=True, ports=None)
    fetch = UrlFetcher(rules, resolve=names, is_allowed=lambda address: address.startswith("127."))
    assert await fetch.fetch(f"http://photos.test:{web.port}/photo.jpg", "url") == PHOTO


async def test_redirects_are_followed(web: Web) -> None:
    web.redirect("/1", "2", 301)
    web.redirect("/2", f"//photos.test:{web.port}/3", 303)
    web.redirect("/3", f"http://cdn.test:{web.port}/photo.jpg", 308)
    names = Names(photos_test=[LOOPBACK], cdn_test=[LOOPBACK])
    assert await fetcher(names).fetch(f"http://photos.test:{web.port}/1#part", "url") == PHOTO
    assert names.asked == ["photos.test", "photos.test", "photos.test", "cdn.test"]


@pytest.mark.parametrize(
    "target",
    [
        "http://private.test/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://10.0.0.5:80/",
        "file:///etc/passwd", "ftp://photos.test/", "http://user:pw@photos.test/", "http://photos.test:x/",
    ],
)  # fmt: skip
async def test_a_redirect_obeys_the_same_rules(web: Web, target: str) -> None:
    web.redirect("/1", target)
    names = Names(photos_test=[LOOPBACK], private_test=["10.0.0.5"])

    async def resolve(host: str, port: int) -> list[str]:
        return [host.strip("[]")] if host[0] in "[:1" else await names(host, port)

    rules = FetchRules(enabled=True, ports=None)
    fetch = UrlFetcher(rules, resolve=resolve, is_allowed=lambda a: is_public(a) or a == LOOPBACK)
    await refusal(fetch, f"http://photos.test:{web.port}/1", ErrorCode.INVALID_URL)
    assert [path for path, _ in web.asked] == ["/1"]


async def test_too_many_redirects_and_one_to_nowhere(web: Web) -> None:
    web.redirect("/loop", "/loop")
    message = await refusal(fetcher(), f"http://photos.test:{web.port}/loop", ErrorCode.DOWNLOAD_FAILED)
    assert "more than 5 times" in message
    assert len(web.asked) == 6
    web.serve("/nowhere", b"", 302)
    await refusal(fetcher(), f"http://photos.test:{web.port}/nowhere", ErrorCode.DOWNLOAD_FAILED)


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ("photos.test", "photos.test", True),
        ("photos.test", "PHOTOS.test.", True),
        ("other.test, photos.test.", "photos.test", True),
        ("photos.test", "x.photos.test", False),
        ("photos.test", "evilphotos.test", False),
        ("*.photos.test", "x.photos.test", True),
        ("*.photos.test", "photos.test", False),
        ("*.photos.test", "evilphotos.test", False),
        ("photos.test", "photos.test.evil.test", False),
    ],
)
async def test_the_list_of_hosts(web: Web, hosts: str, host: str, allowed: bool) -> None:
    async def everywhere(host: str, port: int) -> list[str]:
        return [LOOPBACK]

    rules = FetchRules(enabled=True, ports=None, hosts=FetchRules.hosts_of(hosts))
    fetch = UrlFetcher(rules, resolve=everywhere, is_allowed=lambda address: True)
    url = f"http://{host}:{web.port}/photo.jpg"
    if allowed:
        assert await fetch.fetch(url, "image_url") == PHOTO
    else:
        with pytest.raises(CutoutError, match="not on this server's list"):
            await fetch.fetch(url, "image_url")
        assert web.asked == []


async def test_a_redirect_off_the_list_of_hosts(web: Web) -> None:
    web.redirect("/1", f"http://cdn.test:{web.port}/photo.jpg")
    names = Names(photos_test=[LOOPBACK], cdn_test=[LOOPBACK])
    await refusal(fetcher(names, hosts=("photos.test",)), f"http://photos.test:{web.port}/1", ErrorCode.INVALID_URL)


async def test_a_file_that_says_it_is_too_large_is_not_read(web: Web) -> None:
    web.serve("/big", b"", Content_Length="100000")
    await refusal(fetcher(), f"http://photos.test:{web.port}/big", ErrorCode.TOO_MANY_BYTES)


async def test_a_file_that_never_ends_is_cut_at_the_limit(web: Web) -> None:
    sent = 0

    def endless(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send_response(200)
        exchange.end_headers()
        for _ in range(2000):
            exchange.wfile.write(b"x" * 65536)
            sent += 65536

    web.pages["/endless"] = endless
    await refusal(fetcher(max_bytes=200_000), f"http://photos.test:{web.port}/endless", ErrorCode.TOO_MANY_BYTES)
    assert sent < 50_000_000


async def test_the_bytes_count_against_the_budget_as_they_arrive(web: Web) -> None:
    web.serve("/photo.jpg", b"x" * 900)
    admission = Admission(Budget(requests=1, pixels=1, bytes=1000, uploads=2))
    with admission.upload() as weight:
        await fetcher().fetch(f"http://photos.test:{web.port}/photo.jpg", "image_url", weight)
        assert admission.bytes == 900
        with pytest.raises(CutoutError) as caught:
            await fetcher().fetch(f"http://photos.test:{web.port}/photo.jpg", "image_url", weight)
    assert caught.value.code is ErrorCode.OVERLOADED


@pytest.mark.parametrize("stage", ["headers", "body", "redirects"])
async def test_the_time_is_bounded_whatever_is_slow(web: Web, stage: str) -> None:
    def slow(exchange: Exchange) -> None:
        if stage == "headers":
            time.sleep(1.5)
        if stage == "redirects":
            time.sleep(0.15)
        exchange.send_response(302 if stage == "redirects" else 200)
        exchange.send_header("Location", "/slow")
        exchange.end_headers()
        for _ in range(30 if stage == "body" else 0):
            exchange.wfile.write(b"x")
            time.sleep(0.05)

    web.pages["/slow"] = slow
    started = time.monotonic()
    fetch = fetcher(timeout_s=0.4)
    message = await refusal(fetch, f"http://photos.test:{web.port}/slow", ErrorCode.DOWNLOAD_FAILED)
    assert "took longer than" in message
    assert time.monotonic() - started < 1.4


async def test_a_slow_name_server_counts_too() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    rules = FetchRules(enabled=True, timeout_s=0.1)
    await refusal(UrlFetcher(rules, resolve=never), "http://photos.test/", ErrorCode.DOWNLOAD_FAILED)


@pytest.mark.parametrize("status", [204, 206, 304, 401, 403, 404, 500])
async def test_any_other_status_is_a_failed_download(web: Web, status: int) -> None:
    web.serve("/x", b"" if status in (204, 304) else b"secret page", status)
    message = await refusal(fetcher(), f"http://photos.test:{web.port}/x", ErrorCode.DOWNLOAD_FAILED)
    assert str(status) in message
    assert "secret" not in message


async def test_an_empty_file(web: Web) -> None:
    web.serve("/x", b"")
    await refusal(fetcher(), f"http://photos.test:{web.port}/x", ErrorCode.DOWNLOAD_FAILED)


async def test_compression_that_was_not_asked_for(web: Web) -> None:
    web.serve("/x", b"\x1f\x8b", Content_Encoding="gzip")
    await refusal(fetcher(), f"http://photos.test:{web.port}/x", ErrorCode.DOWNLOAD_FAILED)


async def test_what_does_not_speak_http_or_does_not_listen(web: Web) -> None:
    web.pages["/x"] = lambda exchange: exchange.wfile.write(b"220 mail.example ESMTP\r\n") and None  # type: ignore[func-returns-value]
    await refusal(fetcher(), f"http://photos.test:{web.port}/x", ErrorCode.DOWNLOAD_FAILED)
    with serve_web() as other:
        port = other.port
    await refusal(fetcher(), f"http://photos.test:{port}/x", ErrorCode.DOWNLOAD_FAILED)


async def test_proxies_of_the_environment_play_no_part(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await fetcher().fetch(f"http://photos.test:{web.port}/photo.jpg", "url") == PHOTO


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate for photos.test."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder: Path = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", "/CN=photos.test", "-addext", "subjectAltName=DNS:photos.test"]
    subprocess.run([*command, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)
    return str(folder / "cert.pem"), str(folder / "key.pem")


async def test_tls_keeps_the_name_though_the_address_is_pinned(certificate: tuple[str, str]) -> None:
    with serve_web(certificate) as web:
        web.serve("/photo.jpg", PHOTO)
        names = Names(photos_test=[LOOPBACK], other_test=[LOOPBACK])
        rules = FetchRules(enabled=True, ports=None)
        trusted = ssl.create_default_context(cafile=certificate[0])
        for host, context, works in (
            ("photos.test", trusted, True),
            ("other.test", trusted, False),  # another name than the certificate's
            ("photos.test", None, False),  # a certificate that nobody vouches for
        ):
            fetch = UrlFetcher(rules, resolve=names, is_allowed=lambda _: True, ssl_context=context)
            url = f"https://{host}:{web.port}/photo.jpg"
            if works:
                assert await fetch.fetch(url, "url") == PHOTO
                assert web.sni == ["photos.test"]
            else:
                with pytest.raises(CutoutError) as caught:
                    await fetch.fetch(url, "url")
                assert caught.value.code is ErrorCode.DOWNLOAD_FAILED
        assert len(web.asked) == 1
