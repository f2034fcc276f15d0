"""What admission reads of a KServe v2 request, against messages that the official classes made."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from cutout_core.contract import CutoutError, ErrorCode, Limits
from cutout_gateway.kserve_json import read_facts
from cutout_gateway.kserve_wire import read_infer, stream_error, stream_response
from tests.integration.fake_triton import pack

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)


@st.composite
def requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Any inference request for an ensemble, with its inputs in any order."""
    request = pb.ModelInferRequest(model_name="cutout", model_version=draw(st.text()), id=draw(st.text()))
    if draw(st.booleans()):
        request.parameters["timeout"].int64_param = draw(INT64)
    request.parameters["priority"].uint64_param = draw(st.integers(0, 1 << 63))
    request.parameters["note"].string_param = draw(st.text())
    request.parameters["weight"].double_param = draw(st.floats(allow_nan=False))
    for name in draw(st.permutations(["IMAGE", "OPTIONS", "OTHER"])):
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=draw(st.lists(INT64, max_size=4)))
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32, allow_nan=False), max_size=4)))
        request.raw_input_contents.append(pack(draw(st.lists(st.binary(max_size=300), max_size=16))))
    request.outputs.add(name="RESULT").parameters["classification"].int64_param = 3
    return request


@settings(max_examples=50, deadline=None)
@given(requests())
def test_the_wire_reader_agrees_with_protobuf(request: pb.ModelInferRequest) -> None:
    infer = read_infer(request.SerializeToString())
    assert (infer.model, infer.id) == ("cutout", request.id)
    position = [tensor.name for tensor in request.inputs].index("IMAGE")
    assert pack([bytes(image) for image in infer.facts.images]) == request.raw_input_contents[position]
    microseconds = request.parameters["timeout"].int64_param
    assert infer.facts.timeout_s == (microseconds / 1e6 if microseconds > 0 else None)
    assert not infer.facts.shared_memory


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    refused = None
    try:
        read_infer(message)
    except CutoutError as error:
        refused = error.code
    assert refused in (None, ErrorCode.MALFORMED_REQUEST)


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_shared_memory_is_seen_in_messages(where: str) -> None:
    request = pb.ModelInferRequest(model_name="segmentation")
    getattr(request, where).add(name="MASK").parameters["shared_memory_region"].string_param = "region"
    assert read_infer(request.SerializeToString()).facts.shared_memory


def test_a_tag_that_other_parsers_cut_short_is_refused() -> None:
    """Five bytes of tag with bits above 32: C++ reads field 4, an unlimited reader another field."""
    message = pb.ModelInferRequest(model_name="cutout").SerializeToString()
    assert read_infer(message).model == "cutout"
    with pytest.raises(CutoutError, match="decoded"):
        read_infer(message + bytes((0x22 | 0x80, 0x80, 0x80, 0x80, 0x10, 0)))


def test_a_message_of_countless_fields_is_refused() -> None:
    with pytest.raises(CutoutError, match="decoded"):
        read_infer(b"\x1a\x00" * 100_000)


@given(st.binary(max_size=2000), st.text())
def test_stream_answers_are_what_protobuf_reads(tensor: bytes, text: str) -> None:
    inner = pb.ModelInferResponse(model_name="m", id="7", raw_output_contents=[tensor])
    answer = pb.ModelStreamInferResponse.FromString(stream_response(inner.SerializeToString()))
    assert answer.infer_response.parameters["triton_final_response"].bool_param
    del answer.infer_response.parameters["triton_final_response"]
    assert answer.infer_response == inner
    failed = pb.ModelStreamInferResponse.FromString(stream_error(text, "7"))
    assert (failed.error_message, failed.infer_response.id) == (text, "7")


def json_request(*tensors: tuple[str, bytes], **extra: object) -> tuple[bytes, int]:
    inputs = [{"name": name, "parameters": {"binary_data_size": len(raw)}} for name, raw in tensors]
    head = json.dumps({"inputs": inputs, **extra}).encode()
    return head + b"".join(raw for _, raw in tensors), len(head)


def test_json_images_are_found_behind_other_tensors() -> None:
    body, length = json_request(("OPTIONS", pack([b"{}"])), ("IMAGE", pack([b"one", b"two"])))
    assert [bytes(image) for image in read_facts(body, length, "cutout").images] == [b"one", b"two"]
    assert read_facts(body, length, "segmentation").images == ()


@pytest.mark.parametrize("value", [0, -1, True, "100", 1.5, None])
def test_a_timeout_that_is_none(value: object) -> None:
    body, length = json_request(parameters={"timeout": value})
    assert read_facts(body, length, "cutout").timeout_s is None


def test_json_timeout() -> None:
    body, length = json_request(parameters={"timeout": 250_000})
    assert read_facts(body, length, "cutout").timeout_s == 0.25


@pytest.mark.parametrize("body", [b'{"inputs":{}}', b'{"inputs":[1]}', b'{"inputs":[{"parameters":[]}]}', b"{}"])
def test_odd_json_is_left_to_triton(body: bytes) -> None:
    assert read_facts(body, None, "cutout").images == ()


def test_pixels(small_jpeg: bytes, huge_png: bytes) -> None:
    """What cannot be decoded, or is over the limit, will not be worked on and weighs nothing."""
    body, length = json_request(("IMAGE", pack([small_jpeg, small_jpeg, b"no image", b""])))
    assert read_facts(body, length, "cutout").pixels(Limits()) == 2 * 96 * 64
    body, length = json_request(("IMAGE", pack([huge_png])))
    assert read_facts(body, length, "cutout").pixels(Limits()) == 50_000_000
    assert read_facts(body, length, "cutout").pixels(Limits(max_pixels=1_000_000)) == 0


def test_a_length_that_lies_is_no_trouble() -> None:
    body, length = json_request(("IMAGE", b"\xff\xff\xff\xffabc"))
    assert read_facts(body, length, "cutout").pixels(Limits()) == 0
