"""API keys over HTTP and gRPC: every way in asks for one, rates are told, changes noticed, keys never logged."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest

from cutout_core.contract import cutout_pb2 as pb
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess
from tests.integration.keyed_gateway import Keyed, keyed_gateway, new_key

#: What answers without a key: health, the description, and the counters.
OPEN = {"/livez", "/readyz", "/info", "/metrics", "/metrics/triton", "/docs", "/openapi.json", "/"}


@pytest.fixture(scope="module")
def _keyed(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    with keyed_gateway(_fake, folder, {"shop": (), "slow": ("--rate", "2")}) as found:
        yield found
    log = found.gateway.log
    for key in found.keys.values():
        assert key not in log
        assert key not in found.file.read_text()


@pytest.fixture
def keyed(_keyed: Keyed, triton: FakeTriton) -> Keyed:
    return _keyed


def test_over_http(keyed: Keyed, small_jpeg: bytes) -> None:
    assert keyed.post(small_jpeg, "shop").content == RESULT
    bearer = {"Authorization": f"Bearer {keyed.keys['shop']}"}
    assert httpx.post(f"{keyed.gateway.http}/v1/cutouts", content=small_jpeg, headers=bearer).status_code == 200
    missing = keyed.post(small_jpeg)
    assert (missing.status_code, missing.json()["error"]["code"]) == (401, "missing_key")
    assert missing.headers["www-authenticate"] == "Bearer"
    wrong = httpx.post(f"{keyed.gateway.http}/v1/cutouts", content=small_jpeg, headers={"X-Api-Key": "guess-guess"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_key")
    assert "guess" not in wrong.text + keyed.gateway.log
    assert "ratelimit" not in str(wrong.headers).lower()
    assert f"{missing.headers['x-request-id']} http missing_key" in keyed.gateway.log


def test_every_path_but_those_of_a_list_asks_for_a_key(keyed: Keyed) -> None:
    paths = httpx.get(f"{keyed.gateway.http}/openapi.json").json()["paths"]
    assert "/v1/cutouts" in paths
    asked = 0
    for path, operations in paths.items():
        for method in operations.keys() & {"get", "post", "put", "delete", "patch"}:
            answer = httpx.request(method.upper(), keyed.gateway.http + re.sub(r"\{.*?\}", "x", path))
            if path in OPEN:
                assert answer.status_code == 200, path
            else:
                assert answer.status_code in (401, 403), f"{method} {path} answers {answer.status_code} without a key"
                asked += 1
    assert asked >= 3


def test_a_refusal_comes_before_the_body(keyed: Keyed) -> None:
    """A caller without a key is told so whatever it sends; the upload is neither kept nor judged."""
    answer = keyed.post(b"x" * 50_000_000)
    assert answer.status_code == 401


def test_rembgs_errors_have_its_form(keyed: Keyed, small_jpeg: bytes) -> None:
    url = f"{keyed.gateway.http}/api/remove"
    answer = httpx.post(url, files={"file": ("a.jpg", small_jpeg)})
    assert answer.status_code == 401
    assert "X-Api-Key" in answer.json()["detail"]
    answer = httpx.post(url, files={"file": ("a.jpg", small_jpeg)}, headers={"X-Api-Key": keyed.keys["shop"]})
    assert answer.status_code == 200


def test_over_grpc(keyed: Keyed, small_jpeg: bytes) -> None:
    message = pb.RemoveBackgroundRequest(image=small_jpeg).SerializeToString()
    with grpc.insecure_channel(keyed.gateway.grpc) as channel:
        call = channel.unary_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")
        for metadata in (("x-api-key", keyed.keys["shop"]), ("authorization", f"Bearer {keyed.keys['shop']}")):
            assert RESULT in call(message, timeout=10, metadata=(metadata,))
        for metadata, code in (((), "missing_key"), ((("x-api-key", "guess"),), "invalid_key")):
            with pytest.raises(grpc.RpcError) as caught:
                call(message, timeout=10, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            assert dict(caught.value.trailing_metadata())["cutout-error-code"] == code


def test_rates(keyed: Keyed, small_jpeg: bytes) -> None:
    answers = [keyed.post(small_jpeg, "slow") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
    refused = answers[-1]
    assert refused.headers["x-ratelimit-limit"] == "2"
    assert 0 < int(refused.headers["x-ratelimit-reset"]) - time.time() <= 61
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.json()["error"]["retryable"] is True
    message = pb.RemoveBackgroundRequest(image=small_jpeg).SerializeToString()
    with grpc.insecure_channel(keyed.gateway.grpc) as channel:
        call = channel.unary_unary("/cutout.v1.BackgroundRemoval/RemoveBackground")
        with pytest.raises(grpc.RpcError) as caught:
            call(message, timeout=10, metadata=(("x-api-key", keyed.keys["slow"]),))
    metadata = dict(caught.value.trailing_metadata())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert metadata["cutout-error-code"] == "rate_limited"
    assert int(metadata["cutout-retry-after-ms"]) > 0
    assert metadata["x-ratelimit-limit"] == "2"
    assert keyed.post(small_jpeg, "shop").status_code == 200, "one key's use is not another's"
    metrics = httpx.get(f"{keyed.gateway.http}/metrics").text
    assert 'cutout_key_images_total{key="slow"} 2.0' in metrics
    assert 'cutout_key_megapixels_total{key="slow"} 2.0' in metrics
    assert 'cutout_key_refusals_total{key="slow"} 2.0' in metrics


def test_a_new_key_works_and_a_removed_one_does_not_without_a_restart(keyed: Keyed, small_jpeg: bytes) -> None:
    keyed.keys["late"] = new_key(keyed.file, "late")
    wait_for(keyed, small_jpeg, "late", 200)
    lines = [line for line in keyed.file.read_text().splitlines() if not line.startswith("late ")]
    keyed.file.write_text("\n".join(lines) + "\n")
    wait_for(keyed, small_jpeg, "late", 401)
    assert keyed.post(small_jpeg, "shop").status_code == 200
    assert 'key="late"' not in httpx.get(f"{keyed.gateway.http}/metrics").text


def wait_for(keyed: Keyed, image: bytes, name: str, status: int) -> None:
    end = time.monotonic() + 10
    while keyed.post(image, name).status_code != status:
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("text", ["shop in-the-clear", None])
def test_a_list_that_cannot_be_used_stops_the_start(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "keys"
    if text is not None:
        file.write_text(text)
    command = [sys.executable, "-m", "cutout_gateway", "--http-port", "0", "--grpc-port", "0"]
    done = subprocess.run([*command, "--api-keys-file", str(file)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "cannot serve: " in done.stderr
    assert ("line 1 of the API keys" if text else str(file)) in done.stderr
    assert "in-the-clear" not in done.stderr


def test_the_server_says_who_may_call(keyed: Keyed, gateway: GatewayProcess) -> None:
    assert httpx.get(f"{keyed.gateway.http}/info").json()["access"] == "api_keys"
    assert httpx.get(f"{gateway.http}/info").json()["access"] == "open"
    assert "callers need one of 2 API keys" in keyed.gateway.log
    assert "no API keys: open to everybody on this machine" in gateway.log
    assert " key=shop" in keyed.gateway.log
