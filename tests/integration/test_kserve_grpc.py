"""KServe v2 over gRPC, with the official messages: forwarded, refused, cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.integration.conftest import ADMIN_KEY
from tests.integration.fake_triton import RESULT, FakeTriton, pack
from tests.integration.gateway_process import GatewayProcess, start_gateway
from tests.integration.test_kserve_http import metric, wait_for

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(kserve_gateway: GatewayProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(kserve_gateway.grpc, options=OPTIONS) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.Channel) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def infer_request(*images: bytes, call_id: str = "", model: str = "cutout") -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=model, id=call_id)
    for name, values in (("IMAGE", list(images)), ("OPTIONS", [b""] * len(images))):
        request.inputs.add(name=name, datatype="BYTES", shape=[len(images), 1])
        request.raw_input_contents.append(pack(values))
    return request


def failure(call: Any, *arguments: Any, **named: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **{"timeout": 20, **named})
    return caught.value


def test_inference_and_metadata(
    stub: Any, kserve_gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    name = 'cutout_requests_total{outcome="ok",output="none",protocol="kserve_grpc",quality="standard"}'
    before = metric(kserve_gateway, name)
    answer = stub.ModelInfer(infer_request(small_jpeg, small_jpeg), timeout=20)
    assert answer.raw_output_contents[0] == pack([RESULT, RESULT])
    assert triton.batches[-1] == 2
    assert metric(kserve_gateway, name) == before + 1
    assert stub.ServerLive(pb.ServerLiveRequest(), timeout=20).live
    assert stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="cutout"), timeout=20).ready
    assert stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=20).name == "fake"
    assert stub.ModelConfig(pb.ModelConfigRequest(name="matting"), timeout=20).config.name == "matting"
    assert len(stub.RepositoryIndex(pb.RepositoryIndexRequest(), timeout=20).models) > 5


def test_errors_of_triton_pass(stub: Any, triton: FakeTriton, small_jpeg: bytes) -> None:
    unknown = failure(stub.ModelStatistics, pb.ModelStatisticsRequest())
    assert (unknown.code(), unknown.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")
    triton.fail_with = grpc.StatusCode.ALREADY_EXISTS
    assert failure(stub.ModelInfer, infer_request(small_jpeg)).code() is grpc.StatusCode.ALREADY_EXISTS
    triton.fail_with = grpc.StatusCode.INTERNAL
    error = failure(stub.ModelInfer, infer_request(small_jpeg))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "Traceback" not in error.details()


def test_a_message_that_is_none(channel: grpc.Channel) -> None:
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    error = failure(call, b"\xff\xff\xff")
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(error.trailing_metadata())["cutout-error-code"] == "malformed_request"


def test_messages_have_a_limit(stub: Any) -> None:
    large = failure(stub.ModelInfer, infer_request(bytes(4_000_000)))
    assert dict(large.trailing_metadata())["cutout-error-code"] == "too_many_bytes"
    assert failure(stub.ModelInfer, infer_request(bytes(8_000_000))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    question = pb.ModelReadyRequest(name="x" * 100_000)
    assert dict(failure(stub.ModelReady, question).trailing_metadata())["cutout-error-code"] == "too_many_bytes"


def test_a_compressed_message_is_inflated_under_the_limit(stub: Any, small_jpeg: bytes) -> None:
    assert stub.ModelInfer(infer_request(small_jpeg), compression=grpc.Compression.Gzip, timeout=20)
    bomb = failure(stub.ModelInfer, infer_request(bytes(30_000_000)), compression=grpc.Compression.Gzip)
    assert bomb.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name="cutout")),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name="cutout")),
        ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
        ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="r")),
        ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="r")),
        ("CudaSharedMemoryStatus", pb.CudaSharedMemoryStatusRequest()),
        ("CudaSharedMemoryRegister", pb.CudaSharedMemoryRegisterRequest(name="r")),
        ("CudaSharedMemoryUnregister", pb.CudaSharedMemoryUnregisterRequest(name="r")),
        ("TraceSetting", pb.TraceSettingRequest()),
        ("LogSettings", pb.LogSettingsRequest()),
    ],
)
def test_control_needs_the_key(stub: Any, method: str, request_: Any) -> None:
    call = getattr(stub, method)
    for metadata in ((), (("x-cutout-admin-key", "wrong"),)):
        error = failure(call, request_, metadata=metadata)
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        assert dict(error.trailing_metadata())["cutout-error-code"] == "forbidden"
    with_key = (("x-cutout-admin-key", ADMIN_KEY),)
    if method in ("SystemSharedMemoryStatus", "SystemSharedMemoryUnregister"):
        call(request_, metadata=with_key)  # the fake has these, and they take any region
        return
    # The fake has none of the others, nor a region without a file: with the key its own answer comes through.
    expected = {"SystemSharedMemoryRegister": grpc.StatusCode.INVALID_ARGUMENT}
    assert failure(call, request_, metadata=with_key).code() is expected.get(method, grpc.StatusCode.UNIMPLEMENTED)


def test_shared_memory_needs_the_key(stub: Any, triton: FakeTriton) -> None:
    request = infer_request(b"x")
    request.inputs[0].parameters["shared_memory_region"].string_param = "somebody_elses"
    assert failure(stub.ModelInfer, request).code() is grpc.StatusCode.PERMISSION_DENIED
    (answer,) = stub.ModelStreamInfer(iter([request]), timeout=20)
    assert "administrator's key" in answer.error_message
    assert triton.batches == []


def test_a_full_server_refuses_and_still_answers_questions(
    stub: Any, kserve_gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 2.0
    calls = [stub.ModelInfer.future(infer_request(small_jpeg), timeout=20) for _ in range(2)]
    assert wait_for(lambda: len(triton.batches) == 2)
    error = failure(stub.ModelInfer, infer_request(small_jpeg))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    metadata = dict(error.trailing_metadata())
    assert metadata["cutout-error-code"] == "overloaded"
    assert int(metadata["cutout-retry-after-ms"]) >= 1000
    assert stub.ModelConfig(pb.ModelConfigRequest(name="cutout"), timeout=20)
    assert all(call.result() for call in calls)


@pytest.mark.parametrize("by", ["deadline", "parameter"])
def test_deadlines(stub: Any, triton: FakeTriton, small_jpeg: bytes, by: str) -> None:
    triton.delay_s = 5.0
    request = infer_request(small_jpeg)
    if by == "parameter":
        request.parameters["timeout"].int64_param = 300_000
    error = failure(stub.ModelInfer, request, timeout=20 if by == "parameter" else 0.3)
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert triton.cancelled.wait(4.0)


def test_a_caller_who_leaves_is_cancelled_upstream(stub: Any, triton: FakeTriton, small_jpeg: bytes) -> None:
    triton.delay_s = 8.0
    call = stub.ModelInfer.future(infer_request(small_jpeg))
    assert wait_for(lambda: len(triton.batches) == 1)
    call.cancel()
    assert triton.cancelled.wait(4.0)


def test_a_stream_answers_in_order_and_goes_on_after_an_error(stub: Any, triton: FakeTriton, small_jpeg: bytes) -> None:
    broken = pb.ModelInferRequest(model_name="cutout", id="b")
    broken.outputs.add(name="RESULT").parameters["shared_memory_region"].string_param = "r"
    requests = [infer_request(small_jpeg, call_id="a"), broken, infer_request(small_jpeg, call_id="c")]
    answers = list(stub.ModelStreamInfer(iter(requests), timeout=20))
    assert [bool(answer.error_message) for answer in answers] == [False, True, False]
    assert answers[1].infer_response.id == "b"
    for answer in (answers[0], answers[2]):
        assert answer.infer_response.raw_output_contents[0] == pack([RESULT])
        assert answer.infer_response.parameters["triton_final_response"].bool_param


def test_a_stream_that_is_left_is_cancelled_upstream(
    stub: Any, kserve_gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes
) -> None:
    triton.delay_s = 8.0
    hold = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        yield infer_request(small_jpeg)
        hold.wait(20)

    call = stub.ModelStreamInfer(requests())
    assert wait_for(lambda: len(triton.batches) == 1)
    call.cancel()
    hold.set()
    assert triton.cancelled.wait(4.0)
    assert wait_for(lambda: metric(kserve_gateway, "cutout_in_flight_requests") == 0)


def test_reflection_describes_the_service(channel: grpc.Channel) -> None:
    assert "inference.GRPCInferenceService" in ProtoReflectionDescriptorDatabase(channel).get_services()


@pytest.mark.slow
def test_a_stopping_server_finishes_what_runs(
    kserve_gateway: GatewayProcess, triton: FakeTriton, small_jpeg: bytes, tmp_path: Path
) -> None:
    triton.delay_s = 2.0
    gateway = start_gateway(tmp_path, "--triton-url", f"127.0.0.1:{triton.port}")
    with grpc.insecure_channel(gateway.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        running = stub.ModelInfer.future(infer_request(small_jpeg), timeout=20)
        assert wait_for(lambda: len(triton.batches) == 1)
        gateway.process.terminate()
        time.sleep(0.5)
        assert not stub.ServerReady(pb.ServerReadyRequest(), timeout=20).ready
        assert not stub.ModelReady(pb.ModelReadyRequest(name="cutout"), timeout=20).ready
        refused = failure(stub.ModelInfer, infer_request(small_jpeg))
        assert refused.code() is grpc.StatusCode.UNAVAILABLE
        assert running.result().raw_output_contents[0] == pack([RESULT])
    assert gateway.stop() == 0
