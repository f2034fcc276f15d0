"""What is put into messages and taken out of them by hand, against what the official classes make and read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as triton_pb

from cutout_core.contract import Box, Options, RowMeta
from cutout_core.contract import cutout_pb2 as pb
from cutout_gateway.grpc_messages import serialized, serialized_item
from cutout_gateway.infer_messages import raw_contents, read_outputs
from cutout_gateway.protobuf_wire import WireError, fields, length_delimited
from cutout_gateway.requests import CutoutReply
from tests.integration.fake_triton import pack

BATCH = st.lists(st.binary(max_size=300), max_size=8)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_a_field_of_any_length_is_what_protobuf_reads(size: int) -> None:
    message = length_delimited(1, bytes(size))
    assert pb.RemoveBackgroundResponse.FromString(message).result == bytes(size)
    assert [(number, len(value)) for number, value in fields(memoryview(message))] == [(1, size)]  # type: ignore[arg-type]


@given(BATCH, BATCH)
def test_tensors_beside_a_request_are_its_contents(images: list[bytes], options: list[bytes]) -> None:
    start = triton_pb.ModelInferRequest(model_name="cutout").SerializeToString()
    message = b"".join((start, *raw_contents(images), *raw_contents(options)))
    request = triton_pb.ModelInferRequest.FromString(message)
    assert request.model_name == "cutout"
    assert list(request.raw_input_contents) == [pack(images), pack(options)]


@given(BATCH, BATCH)
def test_the_elements_of_an_answer_are_read(results: list[bytes], metas: list[bytes]) -> None:
    response = triton_pb.ModelInferResponse(model_name="cutout", model_version="1", id="x")
    response.parameters["final"].bool_param = True
    for name, values in (("META", metas), ("RESULT", results)):
        response.outputs.add(name=name, datatype="BYTES", shape=[len(values), 1]).parameters["n"].int64_param = -1
        response.raw_output_contents.append(pack(values))
    outputs = read_outputs(response.SerializeToString())
    assert outputs == {"META": metas, "RESULT": results}
    assert all(type(value) is bytes for value in outputs["RESULT"]), "a view would hold on to the whole batch"


@given(st.binary(max_size=100))
def test_any_answer_is_read_or_refused(message: bytes) -> None:
    try:
        outputs = read_outputs(message)
    except ValueError:
        return
    assert isinstance(outputs, dict)


def test_a_field_that_does_not_end_is_refused() -> None:
    with pytest.raises(WireError, match="does not end"):
        list(fields(memoryview(length_delimited(1, b"abc")[:-1])))


@given(st.binary(max_size=300), st.text(max_size=300))
def test_a_reply_is_the_message_that_protobuf_would_make(result: bytes, item_id: str) -> None:
    meta = RowMeta(source_format="jpeg", width=5, height=4, quality="fast", subject=Box(0, 1, 2, 3), warnings=["w"])
    reply = CutoutReply(result, Options.parse({}), meta, "an-id")
    response = pb.RemoveBackgroundResponse.FromString(serialized(reply))
    assert (response.result, response.content_type) == (result, "image/png")
    assert (response.meta.request_id, response.meta.width, response.meta.subject.height) == ("an-id", 5, 3)
    answer = pb.RemoveBackgroundsResponse.FromString(serialized_item(item_id, reply))
    assert answer == pb.RemoveBackgroundsResponse(id=item_id, result=response)
