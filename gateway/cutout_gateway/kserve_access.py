"""Who may call what of KServe v2: everybody infers, only the administrator controls."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.access import Access, Caller
from cutout_gateway.kserve_facts import InferFacts

#: HTTP header and gRPC metadata key of the administrator's key.
ADMIN_HEADER = "x-cutout-admin-key"


class KserveAccess:
    """The checks of one gateway. admin_key: opens control, as an API key marked `admin` does; None: only that does."""

    def __init__(self, access: Access, admin_key: str | None) -> None:
        self._access = access
        self._admin_key = admin_key.encode() if admin_key is not None else None

    def authorize(self, headers: Mapping[str, str]) -> Caller:
        """Who calls. Raises `CutoutError` where nobody known does; the check of every call but health."""
        return self._access.authorize(headers)

    def check_control(self, headers: Mapping[str, str], what: str) -> None:
        """Raises `CutoutError` FORBIDDEN where `what` is closed to the caller; the key is compared in constant time."""
        key = self._access.authorize(headers).key
        if key is not None and key.admin:
            return
        if self._admin_key is None:
            raise CutoutError(
                ErrorCode.FORBIDDEN, f"{what} is off. It needs an administrator's key, and none was given."
            )
        if not hmac.compare_digest(headers.get(ADMIN_HEADER, "").encode(), self._admin_key):
            raise CutoutError(ErrorCode.FORBIDDEN, f"{what} needs the administrator's key in {ADMIN_HEADER}.")

    def check_infer(self, headers: Mapping[str, str], facts: InferFacts) -> None:
        """Raises `CutoutError` FORBIDDEN where the request uses shared memory, which may be somebody else's."""
        if facts.shared_memory:
            self.check_control(headers, "Shared memory")
