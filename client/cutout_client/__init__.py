"""Client of the Cutout background-removal service: blocking and asyncio, over HTTP and gRPC.

    from cutout_client import Client

    with Client("http://127.0.0.1:8080") as client:
        client.remove_background("photo.jpg").save("photo.png")

`Client` and `AsyncClient` take the same arguments; the URL's scheme chooses the protocol. `Timeout` and `Retry` say
how long a call may take and how often it is tried. Every error is a `CutoutClientError`; its module draws the tree.
`MockTransport` and `AsyncMockTransport` stand in for a server in tests. The command line is `cutout --help`.
"""

from cutout_client._client import AsyncClient, Client
from cutout_client._config import Retry, Timeout
from cutout_client._exceptions import (
    AccessDenied,
    Cancelled,
    ConnectError,
    CutoutClientError,
    DeadlineExceeded,
    InternalError,
    InvalidImage,
    InvalidRequest,
    Overloaded,
    ProtocolError,
    RateLimited,
    ServiceError,
    TimeoutError_,
    TooLarge,
    TransportError,
    Unavailable,
    UnsupportedOperation,
    UploadTimeout,
    WrongProtocol,
)
from cutout_client._many import ManyItem, ManyOutcome
from cutout_client._messages import CutoutResult, Operation, Reply, Request
from cutout_client._options import CutoutOptions
from cutout_client._transport import AsyncTransport, Transport
from cutout_client._transport_mock import AsyncMockTransport, MockTransport
from cutout_client._version import __version__
from cutout_core.contract import Box

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "AsyncMockTransport",
    "AsyncTransport",
    "Box",
    "Cancelled",
    "Client",
    "ConnectError",
    "CutoutClientError",
    "CutoutOptions",
    "CutoutResult",
    "DeadlineExceeded",
    "InternalError",
    "InvalidImage",
    "InvalidRequest",
    "ManyItem",
    "ManyOutcome",
    "MockTransport",
    "Operation",
    "Overloaded",
    "ProtocolError",
    "RateLimited",
    "Reply",
    "Request",
    "Retry",
    "ServiceError",
    "Timeout",
    "TimeoutError_",
    "TooLarge",
    "Transport",
    "TransportError",
    "Unavailable",
    "UnsupportedOperation",
    "UploadTimeout",
    "WrongProtocol",
    "__version__",
]
