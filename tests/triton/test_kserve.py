"""KServe v2 through the gateway before a real Triton, with NVIDIA's own clients and perf_analyzer."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.grpc.aio as triton_grpc_aio
import tritonclient.http as triton_http
import tritonclient.http.aio as triton_http_aio
from PIL import Image
from tritonclient.utils import InferenceServerException

from cutout_build.perf_analyzer import perf_analyzer
from cutout_build.photos import photo
from cutout_loadtest.perf_analyzer import input_data, measure
from tests.integration.gateway_process import GatewayProcess, start_gateway
from tests.triton.conftest import RunningTriton

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def gateway(triton_server: RunningTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    flags = ["--triton-url", triton_server.url, "--triton-http-url", triton_server.embedded.http_url]
    flags += ["--timeout-s", "120", "--admin-key", "a-key-of-the-tests-0123"]
    gateway = start_gateway(tmp_path_factory.mktemp("kserve"), *flags)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def module(protocol: str) -> Any:
    return triton_http if protocol == "http" else triton_grpc


@pytest.fixture
def client(protocol: str, module: Any, gateway: GatewayProcess) -> Iterator[Any]:
    limits = {"network_timeout": 200.0} if protocol == "http" else {}
    client = module.InferenceServerClient(address(gateway, protocol), **limits)
    yield client
    client.close()


def address(gateway: GatewayProcess, protocol: str) -> str:
    return f"127.0.0.1:{gateway.http_port}" if protocol == "http" else gateway.grpc


def image_input(module: Any, *files: bytes) -> Any:
    tensor = module.InferInput("IMAGE", [len(files), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[file] for file in files], dtype=np.object_))
    return tensor


def assert_cutout(result: Any, row: int = 0) -> None:
    meta = json.loads(result.as_numpy("META")[row, 0])
    assert meta["error"] is None
    cutout = Image.open(io.BytesIO(result.as_numpy("RESULT")[row, 0]))
    assert (cutout.mode, cutout.size) == ("RGBA", (meta["width"], meta["height"]))
    low, high = cutout.getextrema()[3]
    assert (low, high) == (0, 255)


def engine_inputs(module: Any, model: str, *, binary: bool = True) -> list[Any]:
    shapes = {
        "segmentation": {"IMAGE": ((1, 3, 320, 320), "FP32")},
        "matting": {
            "IMAGE": ((1, 3, 512, 512), "UINT8"),
            "MASK": ((1, 1, 512, 512), "FP32"),
            "MODE": ((1, 3, 1, 1), "FP32"),
        },
    }[model]
    inputs = []
    for name, (shape, dtype) in shapes.items():
        values = np.zeros(shape, np.uint8 if dtype == "UINT8" else np.float32)
        tensor = module.InferInput(name, shape, dtype)
        if module is triton_http:
            tensor.set_data_from_numpy(values, binary_data=binary)
        else:
            tensor.set_data_from_numpy(values)
        inputs.append(tensor)
    return inputs


def test_a_photo_through_the_ensemble(client: Any, module: Any) -> None:
    """A batch of two, of which one is no image: that is a row's error, not the batch's."""
    result = client.infer("cutout", [image_input(module, photo("coffee").read_bytes(), b"no image")], request_id="7")
    response = result.get_response()
    assert (response["id"] if module is triton_http else response.id) == "7"
    assert_cutout(result)
    assert json.loads(result.as_numpy("META")[1, 0])["error"]["code"] == "not_an_image"


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression_both_ways(gateway: GatewayProcess, compression: str) -> None:
    with triton_http.InferenceServerClient(address(gateway, "http"), network_timeout=200.0) as client:
        result = client.infer(
            "cutout_fast",
            [image_input(triton_http, photo("coffee").read_bytes())],
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        assert_cutout(result)


@pytest.mark.parametrize("model", ["segmentation", "matting"])
def test_engines(client: Any, module: Any, model: str) -> None:
    name = {"segmentation": "MASK", "matting": "ALPHA"}[model]
    mask = client.infer(model, engine_inputs(module, model)).as_numpy(name)
    assert mask.shape == (1, 1, 512, 512)
    assert 0 <= mask.min() <= mask.max() <= 1


def test_json_tensors_both_ways(gateway: GatewayProcess) -> None:
    with triton_http.InferenceServerClient(address(gateway, "http"), network_timeout=200.0) as client:
        outputs = [triton_http.InferRequestedOutput("MASK", binary_data=False)]
        as_text = client.infer(
            "segmentation", engine_inputs(triton_http, "segmentation", binary=False), outputs=outputs
        )
        binary = client.infer("segmentation", engine_inputs(triton_http, "segmentation"))
        assert np.allclose(as_text.as_numpy("MASK"), binary.as_numpy("MASK"), atol=1e-6)


async def test_the_asyncio_clients(gateway: GatewayProcess) -> None:
    files = photo("coffee").read_bytes()
    async with triton_http_aio.InferenceServerClient(address(gateway, "http"), conn_timeout=200) as over_http:
        assert await over_http.is_server_ready()
        assert_cutout(await over_http.infer("cutout_fast", [image_input(triton_http, files)]))
    async with triton_grpc_aio.InferenceServerClient(gateway.grpc) as over_grpc:
        assert await over_grpc.is_model_ready("cutout")
        assert_cutout(await over_grpc.infer("cutout_fast", [image_input(triton_grpc, files)]))


def test_questions(client: Any, protocol: str) -> None:
    json_ = {} if protocol == "http" else {"as_json": True}
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("cutout")
    assert not client.is_model_ready("nothing")
    assert "statistics" in client.get_server_metadata(**json_)["extensions"]
    assert client.get_model_metadata("cutout", **json_)["inputs"][0]["shape"] == ([-1, 1] if not json_ else ["-1", "1"])
    config = client.get_model_config("cutout", **json_)
    config = config.get("config", config)
    steps = [step["model_name"] for step in config["ensemble_scheduling"]["step"]]
    assert steps == ["preprocess", "segmentation", "matting", "postprocess"]
    for step in steps:
        assert client.get_model_config(step, **json_)
        (stats,) = client.get_inference_statistics(step, **json_)["model_stats"]
        assert {"success", "queue", "compute_input", "compute_infer", "compute_output"} <= stats[
            "inference_stats"
        ].keys()
    index = client.get_model_repository_index(**json_)
    names = {model["name"] for model in (index if protocol == "http" else index["models"])}
    assert {"cutout", "cutout_fast", "segmentation", "matting"} <= names


def test_errors_are_tritons_own(client: Any, module: Any, protocol: str, triton_server: RunningTriton) -> None:
    direct_url = triton_server.embedded.http_url if protocol == "http" else triton_server.url
    direct = module.InferenceServerClient(direct_url)
    try:
        for call in (
            lambda c: c.get_model_config("nothing"),
            lambda c: c.infer("nothing", [image_input(module, b"x")]),
            lambda c: c.infer("segmentation", [image_input(module, b"x")]),
            lambda c: c.infer("matting", engine_inputs(module, "matting")[:1]),
            lambda c: c.infer("cutout", [image_input(module, *[b"x"] * 17)]),
        ):
            seen = []
            for one in (client, direct):
                with pytest.raises(InferenceServerException) as caught:
                    call(one)
                seen.append((caught.value.status(), caught.value.message()))
            assert seen[0] == seen[1]
    finally:
        direct.close()


def test_control_is_closed_without_the_key(client: Any, protocol: str) -> None:
    forbidden = "403" if protocol == "http" else "StatusCode.PERMISSION_DENIED"
    for call in (
        lambda **kw: client.load_model("cutout", **kw),
        lambda **kw: client.unload_model("cutout", **kw),
        lambda **kw: client.get_system_shared_memory_status(**kw),
        lambda **kw: client.register_system_shared_memory("r", "/r", 16, **kw),
        lambda **kw: client.get_cuda_shared_memory_status(**kw),
        lambda **kw: client.get_trace_settings(**kw),
        lambda **kw: client.get_log_settings(**kw),
    ):
        with pytest.raises(InferenceServerException) as caught:
            call()
        assert caught.value.status() == forbidden
    settings = client.get_log_settings(headers={"x-cutout-admin-key": "a-key-of-the-tests-0123"})
    assert "log_verbose_level" in str(settings)


def test_a_stream(gateway: GatewayProcess) -> None:
    results: list[Any] = []
    with triton_grpc.InferenceServerClient(gateway.grpc) as client:
        client.start_stream(lambda result, error: results.append(error or result))
        for number in range(3):
            client.async_stream_infer(
                "segmentation", engine_inputs(triton_grpc, "segmentation"), request_id=str(number)
            )
        client.stop_stream()
    assert [result.get_response().id for result in results] == ["0", "1", "2"]
    assert all(result.as_numpy("MASK").shape == (1, 1, 512, 512) for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cutout", "segmentation", "matting"])
def test_perf_analyzer(gateway: GatewayProcess, protocol: str, model: str, tmp_path: Path) -> None:
    data = tmp_path / "photos.json"
    data.write_text(input_data([photo("coffee").read_bytes()]))
    given = data if model == "cutout" else None
    row = measure(perf_analyzer(), address(gateway, protocol), protocol, model, 2, 4, given)
    assert row.infer_per_s > 0
    assert row.server_compute_ms > 0
    assert row.p50_ms >= row.server_compute_ms / 2
