"""Who may call what of KServe v2: everybody infers, only the administrator controls."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.kserve_facts import InferFacts

#: HTTP header and gRPC metadata key of the administrator's key.
ADMIN_HEADER = "x-cutout-admin-key"

#: Checks a caller by its headers or metadata (names in lower case). Raises `CutoutError` where it may not call.
Authorize = Callable[[Mapping[str, str]], None]


def anybody(headers: Mapping[str, str]) -> None:
    """The check of a server without API keys."""


class KserveAccess:
    """The checks of one gateway. `authorize` is the check of every call but health; admin_key: None closes control."""

    def __init__(self, admin_key: str | None, authorize: Authorize = anybody) -> None:
        self._admin_key = admin_key.encode() if admin_key is not None else None
        self.authorize = authorize

    def check_control(self, headers: Mapping[str, str], what: str) -> None:
        """Raises `CutoutError` FORBIDDEN where `what` is closed to the caller; the key is compared in constant time."""
        if self._admin_key is None:
            raise CutoutError(
                ErrorCode.FORBIDDEN, f"{what} is off. It needs the administrator's key, and this server has none."
            )
        if not hmac.compare_digest(headers.get(ADMIN_HEADER, "").encode(), self._admin_key):
            raise CutoutError(ErrorCode.FORBIDDEN, f"{what} needs the administrator's key in {ADMIN_HEADER}.")

    def check_infer(self, headers: Mapping[str, str], facts: InferFacts) -> None:
        """Raises `CutoutError` FORBIDDEN where the request uses shared memory, which may be somebody else's."""
        if facts.shared_memory:
            self.check_control(headers, "Shared memory")
