"""A KServe v2 message in protobuf's wire format, read uncopied.

Only what admission needs is looked at; tensors are skipped as a whole. Field numbers are those of KServe's
`grpc_service.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.kserve_facts import InferFacts, elements, takes_files, timeout_s
from cutout_gateway.protobuf_wire import WireError, fields, header, length_delimited

#: Fields that are looked at in one message, nested ones included; a real request has some dozens.
_MAX_FIELDS = 2000

# ModelInferRequest; `name` and `parameters` have the same numbers in its input tensors.
_MODEL_NAME, _ID, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW_INPUT_CONTENTS = 1, 3, 4, 5, 6, 7
_TENSOR_NAME, _INPUT_PARAMETERS, _OUTPUT_PARAMETERS = 1, 4, 2
# An entry of a map, and the integers of InferParameter.
_KEY, _VALUE = 1, 2
_INT64, _UINT64 = 2, 5
# ModelStreamInferResponse and ModelInferResponse.
_ERROR_MESSAGE, _INFER_RESPONSE, _RESPONSE_ID = 1, 2, 3


#: The parameter triton_final_response = true of a ModelInferResponse, by which Triton marks a request's last answer.
_FINAL = length_delimited(
    _PARAMETERS,
    length_delimited(_KEY, b"triton_final_response") + length_delimited(_VALUE, b"\x08\x01"),
)


@dataclass(frozen=True, slots=True)
class InferMessage:
    """A `ModelInferRequest`: its model, its own id (any text) and the facts for admission."""

    model: str
    id: str
    facts: InferFacts


def read_infer(message: bytes) -> InferMessage:
    """Reads a serialized `ModelInferRequest`. Raises `CutoutError` MALFORMED_REQUEST."""
    try:
        return _read_infer(memoryview(message))
    except (WireError, UnicodeDecodeError):
        raise CutoutError(ErrorCode.MALFORMED_REQUEST, "The message cannot be decoded.") from None


def stream_response(response: bytes) -> bytes:
    """A `ModelStreamInferResponse` around a serialized `ModelInferResponse`, marked as its request's only one."""
    return b"".join((header(_INFER_RESPONSE, len(response) + len(_FINAL)), response, _FINAL))


def stream_error(message: str, call_id: str) -> bytes:
    """A `ModelStreamInferResponse` that tells an error of the request with that id."""
    answer = length_delimited(_RESPONSE_ID, call_id.encode())
    return length_delimited(_ERROR_MESSAGE, message.encode()) + length_delimited(_INFER_RESPONSE, answer)


def _read_infer(message: memoryview) -> InferMessage:
    left = iter(range(_MAX_FIELDS))
    model, call_id, timeout, shared = "", "", None, False
    names: list[str] = []
    contents: list[memoryview] = []
    for number, value in fields(message, left):
        if not isinstance(value, memoryview):
            continue
        if number == _MODEL_NAME:
            model = _text(value)
        elif number == _ID:
            call_id = _text(value)
        elif number == _PARAMETERS:
            name, integer = _parameter(value, left)
            timeout = timeout_s(integer) if name == "timeout" else timeout
        elif number in (_INPUTS, _OUTPUTS):
            name, has_region = _tensor(value, _INPUT_PARAMETERS if number == _INPUTS else _OUTPUT_PARAMETERS, left)
            shared = shared or has_region
            if number == _INPUTS:
                names.append(name)
        elif number == _RAW_INPUT_CONTENTS:
            contents.append(value)
    images: tuple[memoryview, ...] = ()
    if takes_files(model):
        images = next((elements(raw) for name, raw in zip(names, contents, strict=False) if name == "IMAGE"), ())
    return InferMessage(model, call_id, InferFacts(images, timeout, shared))


def _tensor(message: memoryview, parameters: int, left: Iterator[int]) -> tuple[str, bool]:
    """Name of an input or output, and whether it lies in a shared-memory region."""
    name, shared = "", False
    for number, value in fields(message, left):
        if number == _TENSOR_NAME and isinstance(value, memoryview):
            name = _text(value)
        elif number == parameters and isinstance(value, memoryview):
            shared = shared or _parameter(value, left)[0].startswith("shared_memory")
    return name, shared


def _parameter(entry: memoryview, left: Iterator[int]) -> tuple[str, int | None]:
    """Key of an entry of `map<string, InferParameter>`, and its value where that is an integer."""
    key, integer = "", None
    for number, value in fields(entry, left):
        if number == _KEY and isinstance(value, memoryview):
            key = _text(value)
        elif number == _VALUE and isinstance(value, memoryview):
            for kind, inner in fields(value, left):
                if kind in (_INT64, _UINT64) and isinstance(inner, int):
                    integer = inner if inner < 1 << 63 else None
    return key, integer


def _text(value: memoryview) -> str:
    return bytes(value).decode()
