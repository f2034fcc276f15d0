"""Every row of the error table as both protocols show it; where each is raised is tested elsewhere."""

from __future__ import annotations

import grpc
import httpx
import pytest

from cutout_core.contract import ERROR_TABLE, ErrorCode, RowError
from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess

CODES = list(ErrorCode)


@pytest.fixture(params=CODES, ids=lambda code: code.value)
def code(request: pytest.FixtureRequest, triton: FakeTriton) -> ErrorCode:
    """The engine answers every row with this error."""
    code: ErrorCode = request.param
    triton.row_error = RowError(code, "the reason", "size")
    return code


def test_over_http(gateway: GatewayProcess, small_jpeg: bytes, code: ErrorCode) -> None:
    response = httpx.post(f"{gateway.http}/v1/cutouts", content=small_jpeg)
    row = ERROR_TABLE[code]
    assert response.status_code == row.http_status
    assert response.json() == {
        "error": {
            "code": code.value,
            "message": "the reason",
            "field": "size",
            "request_id": response.headers["x-request-id"],
            "retryable": row.retryable,
        }
    }
    metrics = httpx.get(f"{gateway.http}/metrics").text
    assert f'cutout_requests_total{{outcome="{code.value}",output="png",protocol="http",quality="standard"}}' in metrics


def test_over_grpc(gateway: GatewayProcess, small_jpeg: bytes, code: ErrorCode) -> None:
    with grpc.insecure_channel(gateway.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")(
            pb.RemoveBackgroundRequest(image=small_jpeg, request_id="id-1").SerializeToString(), timeout=5
        )
    metadata = dict(caught.value.trailing_metadata())
    assert caught.value.code() is grpc.StatusCode[ERROR_TABLE[code].grpc_status]
    assert caught.value.details() == "the reason"
    assert metadata["cutout-error-code"] == code.value
    assert metadata["cutout-error-field"] == "size"
    assert metadata["cutout-request-id"] == "id-1"
    assert f"request id-1 grpc {code.value}" in gateway.log
