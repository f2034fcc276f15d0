"""The sender for an address."""

from __future__ import annotations

from cutout_loadtest.grpc_sender import GrpcSender
from cutout_loadtest.http_sender import HttpSender
from cutout_loadtest.shot import Sender

#: Longest wait for one answer, seconds: above every deadline that the service grants by itself.
TIMEOUT_S = 60.0


def open_sender(url: str, timeout_s: float = TIMEOUT_S) -> Sender:
    """For http(s)://host:port or grpc://host:port; inside the event loop. Raises ValueError for anything else."""
    return GrpcSender(url, timeout_s) if url.startswith("grpc") else HttpSender(url, timeout_s)
