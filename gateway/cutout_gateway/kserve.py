"""KServe v2 through the gateway, over HTTP and gRPC: what the server starts and stops."""

from __future__ import annotations

import grpc
from fastapi import FastAPI

from cutout_gateway.kserve_access import KserveAccess
from cutout_gateway.kserve_admission import KserveAdmission
from cutout_gateway.kserve_grpc import KserveGrpc
from cutout_gateway.kserve_http import KserveHttp
from cutout_gateway.kserve_upstream import TritonHttp
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.triton import KSERVE, TritonClient

#: Connections to Triton's HTTP endpoint beyond one for each permit: questions about models and the server.
_SPARE_CONNECTIONS = 16


class KserveEdges:
    """Both protocols' edges before one Triton. http_url: host:port of its HTTP endpoint, None where it is not known."""

    def __init__(
        self,
        service: CutoutService,
        settings: Settings,
        triton: TritonClient,
        http_url: str | None,
    ) -> None:
        key = settings.admin_key
        access = KserveAccess(service.access, key.get_secret_value() if key is not None else None)
        self._admission = KserveAdmission(service, settings.max_timeout_s)
        self._triton_http = TritonHttp(http_url, settings.max_in_flight + _SPARE_CONNECTIONS)
        self._http = KserveHttp(self._admission, access, self._triton_http, settings)
        self._grpc = KserveGrpc(self._admission, access, triton, settings)

    def add_to(self, app: FastAPI) -> None:
        """Adds /v2 to the HTTP application."""
        self._http.add_to(app)

    def grpc_handlers(self) -> dict[str, grpc.GenericRpcHandler]:
        """The gRPC service by its name."""
        return {KSERVE: self._grpc.handler()}

    def stop(self) -> None:
        """Ends what is still in flight after the drain; its callers are told that the server stops."""
        self._admission.close()

    async def close(self) -> None:
        """Closes the connections to Triton."""
        await self._triton_http.close()
