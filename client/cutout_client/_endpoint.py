"""The server's address as one URL."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: What may stand in a header, whichever protocol.
_KEY = re.compile(r"[!-~]+")
_SCHEMES = {"http": False, "https": True, "grpc": False, "grpcs": True}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed URL, and the key to be sent there. target: `host:port` of a gRPC server. secure: over TLS."""

    url: str
    scheme: str
    host: str
    target: str
    api_key: str | None = field(default=None, repr=False)

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def secure(self) -> bool:
        return _SCHEMES[self.scheme]

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine, so that no proxy may stand between."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @classmethod
    def parse(cls, url: str, api_key: str | None = None) -> Endpoint:
        """Raises ValueError with the remedy, and never with the key."""
        if api_key is not None and not _KEY.fullmatch(api_key):
            raise ValueError("api_key is no API key: it takes visible ASCII characters without spaces")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from error
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"{url!r} is no server: give http://, https://, grpc://host:port or grpcs://host:port")
        if parts.query or parts.fragment:
            raise ValueError(f"{url!r} has a query or a fragment: give the server's address alone")
        target = ""
        if parts.scheme.startswith("grpc"):
            if port is None:
                raise ValueError(f"{url!r} has no port: give {parts.scheme}://{parts.hostname}:8081 or the like")
            if parts.path.strip("/") or "@" in parts.netloc:
                raise ValueError(f"{url!r} has a path or a user: a gRPC server is {parts.scheme}://host:port")
            target = parts.netloc
        return cls(url.rstrip("/"), parts.scheme, parts.hostname, target, api_key)
