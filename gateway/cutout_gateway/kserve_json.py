"""The JSON part of a KServe v2 inference request over HTTP, read as far as admission needs it."""

from __future__ import annotations

import json

from cutout_core.contract import CutoutError, ErrorCode
from cutout_gateway.kserve_facts import InferFacts, elements, takes_files, timeout_s

#: Largest JSON part that is parsed, bytes. A larger one holds tensors as text, which nobody decodes here.
MAX_PARSED = 1024 * 1024


def read_facts(body: bytes, header_length: int | None, model: str) -> InferFacts:
    """Reads the facts of a request.

    header_length: the header Inference-Header-Content-Length: bytes of JSON before the binary tensors; None where the
    whole body is JSON, 0 where it is one tensor and nothing else. Raises `CutoutError` MALFORMED_REQUEST.
    """
    if header_length == 0:
        return InferFacts()
    end = len(body) if header_length is None else header_length
    if end > len(body):
        raise _malformed(f"Inference-Header-Content-Length is {end}, but the body has {len(body)} bytes.")
    text = body[:end]
    if len(text) > MAX_PARSED:
        if b"shared_memory" in text or b"\\u" in text:
            raise _malformed(
                f"A JSON part above {MAX_PARSED} bytes may hold neither shared-memory parameters nor \\u escapes; "
                "send the tensors as binary data."
            )
        return InferFacts()
    document, shared_memory = _parse(text)
    images = _images(document, memoryview(body)[end:]) if takes_files(model) else ()
    parameters = document.get("parameters")
    timeout = timeout_s(parameters.get("timeout")) if isinstance(parameters, dict) else None
    return InferFacts(images, timeout, shared_memory)


def _parse(text: bytes) -> tuple[dict[str, object], bool]:
    """The document, and whether any object in it has a shared-memory parameter.

    A name that is given twice is refused: parsers disagree on which of the two holds.
    """
    shared_memory = False

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal shared_memory
        found = dict(pairs)
        if len(found) != len(pairs):
            raise _malformed("The JSON has an object with a name given twice.")
        shared_memory = shared_memory or any(name.startswith("shared_memory") for name in found)
        return found

    try:
        document = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"The JSON cannot be parsed: {error}.") from None
    if not isinstance(document, dict):
        raise _malformed("The JSON is not an object.")
    return document, shared_memory


def _images(document: dict[str, object], binary: memoryview) -> tuple[memoryview, ...]:
    """The files of the binary tensor `IMAGE`. Binary tensors lie one after the other, in the order of the inputs."""
    inputs = document.get("inputs")
    offset = 0
    for tensor in inputs if isinstance(inputs, list) else ():
        parameters = tensor.get("parameters") if isinstance(tensor, dict) else None
        size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
        if not isinstance(size, int) or size < 0:
            continue
        if tensor.get("name") == "IMAGE":
            return elements(binary[offset : offset + size])
        offset += size
    return ()


def _malformed(message: str) -> CutoutError:
    return CutoutError(ErrorCode.MALFORMED_REQUEST, message)
