"""Downloads a photo from a URL that a caller named, without being made a way into the operator's network.

The name is resolved once, every address of it must be public, and the connection goes to the checked address itself;
Host and TLS (SNI and certificate) keep the name. Each redirect is a new URL under the same rules. The environment's
proxies, cookies and credentials play no part. What the server says about the content is not believed: the bytes go on
to the same header check as an upload. Messages tell neither addresses nor whether a private name exists.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass

import httpcore
import httpx

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.admission import Weight
from cutout_gateway.public_address import is_public

log = logging.getLogger("cutout.gateway.fetch")

#: Addresses of a host and port, as text.
Resolve = Callable[[str, int], Awaitable[list[str]]]

#: A name as DNS has it (IDNA already applied), or an address.
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 5
_MAX_URL = 4096

#: Addresses of one name that are tried before the download is given up.
_MAX_ADDRESSES = 4


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be downloaded. `hosts`: names, or `*.name` for its subdomains; empty for any host.

    max_bytes: of the file. timeout_s: of the whole download, redirects included. ports: that a URL may name.
    """

    enabled: bool = False
    max_bytes: int = 32 * 1024 * 1024
    timeout_s: float = 10.0
    hosts: tuple[str, ...] = ()
    ports: frozenset[int] | None = frozenset((80, 443))

    @classmethod
    def hosts_of(cls, text: str) -> tuple[str, ...]:
        """The hosts of a setting: separated by commas, any case."""
        return tuple(host.strip().lower().rstrip(".") for host in text.split(",") if host.strip())


async def resolve(host: str, port: int) -> list[str]:
    """Asks the system's resolver. Raises OSError where the name has no address."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class UrlFetcher:
    """Downloads under `rules`. The other arguments are what tests replace: names, networks, certificates."""

    def __init__(
        self,
        rules: FetchRules,
        *,
        resolve: Resolve = resolve,
        is_allowed: Callable[[str], bool] = is_public,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.rules = rules
        self._backend = _PinnedBackend(resolve, is_allowed)
        self._ssl_context = ssl_context

    async def fetch(self, url: str, field: str, weight: Weight | None = None) -> bytes:
        """The bytes behind `url`, counted into `weight` as they arrive. `field` is the caller's name for the URL.

        Raises `CutoutError` URL_FETCHING_OFF, INVALID_URL, DOWNLOAD_FAILED, TOO_MANY_BYTES or OVERLOADED.
        """
        rules = self.rules
        if not rules.enabled:
            raise CutoutError(
                ErrorCode.URL_FETCHING_OFF,
                "This server downloads nothing from URLs; send the file. Its operator can set CUTOUT_FETCH_URLS.",
                field=field,
            )
        try:
            async with asyncio.timeout(rules.timeout_s):
                return await self._follow(url, field, weight)
        except TimeoutError:
            raise _failed(f"The download took longer than {rules.timeout_s:g} s.", field) from None
        except _NotAllowed:
            raise _invalid("The URL's host is unknown, or not on the public internet.", field) from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            log.info("a download failed: %s", type(error).__name__)
            raise _failed("The URL's server could not be reached, or did not speak HTTP.", field) from None

    async def _follow(self, text: str, field: str, weight: Weight | None) -> bytes:
        url = self._check(text, field)
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._get(url) as response:
                if response.status not in _REDIRECTS:
                    return await self._read(response, field, weight)
                target = _header(response, b"location")
            if not target:
                raise _failed("The URL's server redirects to nowhere.", field)
            try:
                text = str(url.join(target))
            except (httpx.InvalidURL, ValueError):
                raise _invalid("The URL's server redirects to what is no URL.", field) from None
            url = self._check(text, field)
        raise _failed(f"The URL redirects more than {_MAX_REDIRECTS} times.", field)

    def _check(self, text: str, field: str) -> httpx.URL:
        """The parsed URL, if its text may be asked for at all. Raises `CutoutError` INVALID_URL."""
        if len(text) > _MAX_URL:
            raise _invalid(f"The URL is longer than {_MAX_URL} characters.", field)
        try:
            url = httpx.URL(text.strip())
            host = url.raw_host.decode("ascii").lower().rstrip(".")
        except (httpx.InvalidURL, ValueError):
            raise _invalid("This is no URL.", field) from None
        if url.scheme not in ("http", "https") or not host:
            raise _invalid("The URL is neither http:// nor https:// with a host.", field)
        if not _HOST.fullmatch(host) or not 0 < _port(url) < 65536:
            raise _invalid("This is no URL.", field)
        if url.userinfo:
            raise _invalid("The URL holds a user name or password; such URLs are not downloaded.", field)
        if self.rules.ports is not None and _port(url) not in self.rules.ports:
            raise _invalid("The URL names a port other than 80 and 443.", field)
        if self.rules.hosts and not _listed(host, self.rules.hosts):
            raise _invalid("The URL's host is not on this server's list.", field)
        return url

    @contextlib.asynccontextmanager
    async def _get(self, url: httpx.URL) -> AsyncIterator[httpcore.Response]:
        if self._ssl_context is None and url.scheme == "https":
            self._ssl_context = httpx.create_ssl_context()
        headers = [
            (b"Host", url.netloc),
            (b"Accept", b"image/*, */*;q=0.1"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"cutout"),
        ]
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context, network_backend=self._backend, max_keepalive_connections=0
            ) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            yield response

    async def _read(self, response: httpcore.Response, field: str, weight: Weight | None) -> bytes:
        if response.status != 200:
            raise _failed(f"The URL's server answered with status {response.status}.", field)
        if _header(response, b"content-encoding").lower() not in ("", "identity"):
            raise _failed("The URL's server answered in a compression that was not asked for.", field)
        declared = _header(response, b"content-length")
        if declared.isdigit() and int(declared) > self.rules.max_bytes:
            raise self._too_many(field)
        parts: list[bytes] = []
        received = 0
        async for chunk in response.aiter_stream():
            received += len(chunk)
            if received > self.rules.max_bytes:
                raise self._too_many(field)
            if weight is not None:
                weight.add(size=len(chunk))
            parts.append(chunk)
        if not received:
            raise _failed("The URL's server answered with nothing.", field)
        return b"".join(parts)

    def _too_many(self, field: str) -> CutoutError:
        limit = self.rules.max_bytes
        return CutoutError(
            ErrorCode.TOO_MANY_BYTES, f"The file at the URL is larger than the limit of {limit} bytes.", field=field
        )


class _NotAllowed(Exception):
    """The name has no address, or one that is not allowed."""


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the very addresses that were checked: there is no second lookup."""

    def __init__(self, resolve: Resolve, is_allowed: Callable[[str], bool]) -> None:
        self._resolve = resolve
        self._is_allowed = is_allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError):
            raise _NotAllowed from None
        if not addresses or not all(self._is_allowed(address) for address in addresses):
            raise _NotAllowed
        *others, last = addresses[:_MAX_ADDRESSES]
        for address in others:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._inner.connect_tcp(address, port, timeout)
        return await self._inner.connect_tcp(last, port, timeout)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise _NotAllowed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else {"http": 80, "https": 443}[url.scheme]


def _listed(host: str, hosts: tuple[str, ...]) -> bool:
    return any(host.endswith(entry[1:]) if entry.startswith("*.") else host == entry for entry in hosts)


def _header(response: httpcore.Response, name: bytes) -> str:
    """The header's value; empty where it is absent or given several times."""
    values = [value for key, value in response.headers if key.lower() == name]
    return values[0].decode("latin-1").strip() if len(values) == 1 else ""


def _invalid(message: str, field: str) -> CutoutError:
    return CutoutError(ErrorCode.INVALID_URL, message, field=field)


def _failed(message: str, field: str) -> CutoutError:
    return CutoutError(ErrorCode.DOWNLOAD_FAILED, message, field=field)
