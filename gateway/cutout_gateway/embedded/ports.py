"""Loopback ports for Triton."""

from __future__ import annotations

import socket

_LOOPBACK = "127.0.0.1"


class ReservedPort:
    """A free port that stays ours until `close`, also while no server listens on it.

    The socket is bound with SO_REUSEPORT and never listens: the kernel gives the port to nobody else, except to a
    process of the same user that also asks for SO_REUSEPORT, as Triton does with `--reuse-grpc-port`.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind((_LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Gives the port back."""
        self._socket.close()


def free_port() -> int:
    """A port that was free a moment ago. Another process may take it before it is used: be ready to ask again."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])
