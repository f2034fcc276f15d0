"""Who may call: API keys and their rates. Every edge calls `Access.authorize`, whatever its protocol.

    caller = access.authorize(headers)     # at the headers, before anything is read
    caller.check()                         # refuses at once whoever has no budget left
    caller.charge(pixels)                  # once the image's size is known; CutoutService does it

Errors are those of the table; a key is never logged, stored or put into a message.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.keys import ApiKey, hash_key, parse_keys
from cutout_gateway.rate_limit import TokenBucket, megapixel_cost

log = logging.getLogger("cutout.gateway.access")

#: Seconds between two looks at the key file.
_RELOAD_S = 1.0

Clock = Callable[[], float]


class AccessObserver(Protocol):
    """What is counted by key name; the metrics implement it."""

    def key_charged(self, name: str, megapixels: int) -> None: ...

    def key_refused(self, name: str) -> None: ...

    def key_removed(self, name: str) -> None: ...


class Caller:
    """Whoever sent a request: the bearer of a key, or anybody where the server has no keys (`name` is then None)."""

    def __init__(self, key: ApiKey | None, observer: AccessObserver, clock: Clock) -> None:
        self.key = key
        self._observer = observer
        self._clock = clock
        rate = key.megapixels_per_minute if key else None
        self._bucket = TokenBucket(rate, clock()) if rate is not None else None

    @property
    def name(self) -> str | None:
        return self.key.name if self.key else None

    def check(self) -> None:
        """Raises `CutoutError` RATE_LIMITED where not even the smallest image is in the budget."""
        self._require(1)

    def charge(self, pixels: int) -> None:
        """Takes an image of `pixels` off the budget. Raises `CutoutError` RATE_LIMITED where it does not fit now."""
        cost = megapixel_cost(pixels)
        self._require(cost)
        if self._bucket is not None:
            self._bucket.take(cost, self._clock())
        if self.key is not None:
            self._observer.key_charged(self.key.name, cost)

    def rate_headers(self) -> dict[str, str]:
        """`X-RateLimit-Limit`, `-Remaining` (megapixels) and `-Reset` (Unix seconds; then the budget is whole again).

        Empty where there is no limit.
        """
        if self._bucket is None:
            return {}
        now = self._clock()
        return {
            "X-RateLimit-Limit": str(math.floor(self._bucket.per_minute)),
            "X-RateLimit-Remaining": str(self._bucket.remaining(now)),
            "X-RateLimit-Reset": str(math.ceil(time.time() + self._bucket.full_in_s(now))),
        }

    def continue_from(self, other: Caller) -> None:
        """Takes over the budget as it stands, where the rate is the same."""
        mine, theirs = self._bucket, other._bucket
        if mine is not None and theirs is not None and mine.per_minute == theirs.per_minute:
            self._bucket = theirs

    def _require(self, cost: int) -> None:
        wait_s = self._bucket.wait_s(cost, self._clock()) if self._bucket is not None else 0.0
        if wait_s > 0 and self.key is not None:
            self._observer.key_refused(self.key.name)
            raise CutoutError(
                ErrorCode.RATE_LIMITED,
                f"The API key's {self.key.megapixels_per_minute:g} megapixels a minute are used up.",
                retry_after_s=wait_s,
            )


class Access:
    """The keys of a server, from a list (`keys`, in the format of `keys.py`) or a file that is watched for changes.

    With neither, everybody may call. With an empty list or file, nobody may. Raises OSError or ValueError where the
    first read fails; a later one keeps the keys it had and says so in the log.
    """

    def __init__(
        self,
        observer: AccessObserver,
        *,
        keys: str | None = None,
        file: Path | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._observer = observer
        self._clock = clock
        self._file = file
        self._stamp: tuple[int, int, int] | None = None
        self._failing = False
        self._looked = clock()
        self._callers: dict[str, Caller] = {}
        self._anybody = Caller(None, observer, clock)
        self.is_open = keys is None and file is None
        if file is not None:
            self._stamp = _stamp(file)
            keys = file.read_text()
        if keys is not None:
            self._set(parse_keys(keys))

    @property
    def key_count(self) -> int:
        return len(self._callers)

    def authorize(self, headers: Mapping[str, str], *, admin: bool = False) -> Caller:
        """Finds the caller by `X-Api-Key` or `Authorization: Bearer`.

        headers: HTTP headers or gRPC metadata; names are looked up in lower case. admin: the call needs an admin key,
        which an open server has none of. Raises `CutoutError` MISSING_KEY, INVALID_KEY or FORBIDDEN.
        """
        if self.is_open:
            if admin:
                raise CutoutError(ErrorCode.FORBIDDEN, "This needs an admin key, and the server has none.")
            return self._anybody
        self._reload_if_changed()
        presented = _key_in(headers)
        if presented is None:
            raise CutoutError(
                ErrorCode.MISSING_KEY,
                "The request has no API key: send it as X-Api-Key or as Authorization: Bearer.",
            )
        digest = hash_key(presented)
        found: Caller | None = None
        for caller in self._callers.values():  # all of them, whichever it is: the time tells nothing
            if caller.key is not None and hmac.compare_digest(caller.key.digest, digest):
                found = caller
        if found is None or found.key is None:
            raise CutoutError(ErrorCode.INVALID_KEY)
        if admin and not found.key.admin:
            raise CutoutError(ErrorCode.FORBIDDEN, "This needs an admin key.")
        return found

    def _reload_if_changed(self) -> None:
        now = self._clock()
        if self._file is None or now - self._looked < _RELOAD_S:
            return
        self._looked = now
        try:
            stamp = _stamp(self._file)
            if stamp == self._stamp:
                return
            self._set(parse_keys(self._file.read_text()))
        except (OSError, ValueError) as error:
            if not self._failing:
                log.error("the API keys were not read again, the old ones stay: %s", error)
            self._failing = True
            return
        self._stamp = stamp
        self._failing = False
        log.info("read %d API keys", len(self._callers))

    def _set(self, keys: Iterable[ApiKey]) -> None:
        """Takes the new keys; a name that stays with its rate keeps its budget as it stands."""
        old = self._callers
        self._callers = {}
        for key in keys:
            caller = Caller(key, self._observer, self._clock)
            if key.name in old:
                caller.continue_from(old[key.name])
            self._callers[key.name] = caller
        for name in old.keys() - self._callers.keys():
            self._observer.key_removed(name)
        if not self._callers:
            log.warning("the list of API keys is empty: nobody may call")


def describe_access(access: Access, hosts: Iterable[str]) -> None:
    """Says in the log who may call; loudly where that is anybody who reaches an address that is not loopback."""
    if not access.is_open:
        log.info("callers need one of %d API keys", access.key_count)
        return
    exposed = sorted({host for host in hosts if not _is_loopback(host)})
    if exposed:
        log.warning(
            "NO API KEYS, and listening on %s: whoever reaches this address may use the service. Set "
            "CUTOUT_API_KEYS_FILE (python -m cutout_gateway.keys new NAME), or listen on 127.0.0.1",
            ", ".join(exposed),
        )
    else:
        log.info("no API keys: open to everybody on this machine, and to nobody else (loopback only)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_in(headers: Mapping[str, str]) -> str | None:
    key = headers.get("x-api-key", "").strip()
    if not key:
        scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" else ""
    return key or None


def _stamp(file: Path) -> tuple[int, int, int]:
    status = os.stat(file)
    return status.st_mtime_ns, status.st_size, status.st_ino
