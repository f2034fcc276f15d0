"""Inference requests to Triton and its answers (KServe v2 over gRPC). Images and results are put into the messages and
taken out of them by hand, one copy each; those in shared memory are named in them only."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from tritonclient.grpc import service_pb2 as pb

from cutout_gateway.batcher import Row
from cutout_gateway.protobuf_wire import fields, header
from cutout_gateway.shared_memory import Placed

#: The names of the ensembles' outputs.
RESULT, META = "RESULT", "META"

# Fields of ModelInferRequest, of ModelInferResponse, and of its outputs.
_RAW_INPUT_CONTENTS = 7
_OUTPUTS, _RAW_OUTPUT_CONTENTS = 5, 6
_OUTPUT_NAME = 1


def request_message(
    ensemble: str, rows: Sequence[Row], timeout_s: float, images: Placed | None, room: Placed | None
) -> bytes:
    """A serialized `ModelInferRequest`. images: where the rows' images lie, None to send them along. room: where their
    results are to go, None to have them in the answer."""
    request = pb.ModelInferRequest(model_name=ensemble)
    request.parameters["timeout"].int64_param = int(timeout_s * 1e6)
    for name in (RESULT, META):
        output = request.outputs.add(name=name)
        if name == RESULT and room is not None:
            _name(output, room)
    contents: list[bytes] = []
    inputs = [("IMAGE", [row.image for row in rows]), ("OPTIONS", [row.options for row in rows])]
    if any(row.background for row in rows):
        inputs.append(("BACKGROUND", [row.background for row in rows]))
    for name, values in inputs:
        tensor = request.inputs.add(name=name, datatype="BYTES", shape=[len(rows), 1])
        if name == "IMAGE" and images is not None:
            _name(tensor, images)
        else:
            contents += raw_contents(values)
    return b"".join((request.SerializeToString(), *contents))


def raw_contents(values: Sequence[bytes]) -> list[bytes]:
    """The parts of one field `raw_input_contents`: BYTES elements as KServe v2 lays them out, a 4-byte little-endian
    length before each."""
    size = sum(4 + len(value) for value in values)
    elements = (part for value in values for part in (struct.pack("<I", len(value)), value))
    return [header(_RAW_INPUT_CONTENTS, size), *elements]


def read_outputs(response: bytes) -> dict[str, list[bytes]]:
    """The outputs' BYTES elements by name, each copied once, so that none holds on to its whole batch.

    One that is in shared memory has none here. Raises ValueError where it is no `ModelInferResponse`.
    """
    names: list[str] = []
    tensors: list[memoryview] = []
    for number, value in fields(memoryview(response)):
        if number == _OUTPUTS and isinstance(value, memoryview):
            names += [bytes(v).decode() for n, v in fields(value) if n == _OUTPUT_NAME and isinstance(v, memoryview)]
        elif number == _RAW_OUTPUT_CONTENTS and isinstance(value, memoryview):
            tensors.append(value)
    return {name: list(_elements(tensor)) for name, tensor in zip(names, tensors, strict=True)}


def _elements(tensor: memoryview) -> Iterator[bytes]:
    offset = 0
    while offset < len(tensor):
        length = int.from_bytes(tensor[offset : offset + 4], "little")
        offset += 4
        yield bytes(tensor[offset : offset + length])
        offset += length


def _name(
    tensor: pb.ModelInferRequest.InferInputTensor | pb.ModelInferRequest.InferRequestedOutputTensor, place: Placed
) -> None:
    tensor.parameters["shared_memory_region"].string_param = place.region.name
    tensor.parameters["shared_memory_byte_size"].int64_param = place.size
