"""remove.bg's clients as they are published, with nothing changed but the address they call.

Ruby's `remove_bg` and the Go and Node command lines are not here: they do not come from PyPI or npm.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.foreign_clients import node_modules, python_with, run_client
from tests.integration.gateway_process import GatewayProcess
from tests.integration.keyed_gateway import Keyed, keyed_gateway

UPSTREAM = "https://api.remove.bg"


@pytest.fixture(scope="module")
def keyed(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    names = {"shop": ("--rate", "500"), "slow": ("--rate", "1")}
    with keyed_gateway(_fake, tmp_path_factory.mktemp("removebg"), names) as found:
        yield found


@pytest.fixture
def gateway(keyed: Keyed, triton: FakeTriton) -> GatewayProcess:
    return keyed.gateway


@pytest.fixture
def key(keyed: Keyed) -> str:
    return keyed.keys["shop"]


@pytest.fixture
def folder(tmp_path: Path, small_jpeg: bytes) -> Path:
    """A folder with `photo.jpg` and its base64."""
    (tmp_path / "photo.jpg").write_bytes(small_jpeg)
    (tmp_path / "photo.b64").write_text(base64.b64encode(small_jpeg).decode())
    return tmp_path


def test_a_key_s_rate(keyed: Keyed, triton: FakeTriton, small_jpeg: bytes) -> None:
    def post() -> httpx.Response:
        url, headers = f"{keyed.gateway.http}/v1.0/removebg", {"X-Api-Key": keyed.keys["slow"]}
        return httpx.post(url, files={"image_file": small_jpeg}, headers=headers)

    first, second = post(), post()
    assert first.status_code == 200
    assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("1", "0")
    assert (second.status_code, second.json()["errors"][0]["code"]) == (429, "rate_limit_exceeded")
    assert second.json()["errors"][0]["title"] == "Rate limit exceeded"
    assert 1 <= int(second.headers["retry-after"]) <= 60
    assert int(second.headers["x-ratelimit-reset"]) > 1_600_000_000
    missing = httpx.get(f"{keyed.gateway.http}/v1.0/account")
    assert (missing.status_code, missing.json()["errors"][0]) == (
        403,
        {"title": "Missing API Key", "code": "auth_failed", "detail": missing.json()["errors"][0]["detail"]},
    )


_REMOVEBG = """
import sys, json, removebg.removebg as package
package.API_ENDPOINT = sys.argv[1] + "/v1.0/removebg"
client = package.RemoveBg(sys.argv[2], "errors.log")
client.remove_background_from_img_file("photo.jpg")
client.remove_background_from_img_file("photo.jpg", size="4k", bg_color="white")
client.remove_background_from_base64_img(open("photo.b64").read(), size="hd", new_file_name="b64.png")
refused = []
for call in (
    lambda: client.remove_background_from_img_url("https://example.com/photo.jpg"),
    lambda: package.RemoveBg("wrong", "errors.log").remove_background_from_img_file("photo.jpg"),
):
    try:
        call()
    except Exception as error:
        refused.append([error.response.status_code, error.response.json()["errors"][0]["title"]])
print(json.dumps(refused))
"""


def test_removebg(gateway: GatewayProcess, triton: FakeTriton, key: str, folder: Path) -> None:
    done = run_client([python_with("removebg"), "-c", _REMOVEBG, gateway.http, key], folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [400, "Invalid image_url"],
        [403, "API Key invalid"],
    ]
    assert (folder / "photo.jpg_no_bg.png").read_bytes() == RESULT
    assert (folder / "b64.png").read_bytes() == RESULT
    assert [json.loads(options) for options in triton.options] == [
        {"size": 0.25},
        {"output": "jpeg", "background": "#ffffffff", "size": 25.0},
        {"size": 4.0},
    ]


_COMMAND = """
import importlib.util, sys
source = importlib.util.find_spec("removebg_cli").origin
code = open(source).read().replace("https://api.remove.bg", sys.argv.pop(1))
exec(compile(code, source, "exec"), {"__name__": "__main__"})
"""


def test_removebg_cli(gateway: GatewayProcess, triton: FakeTriton, key: str, folder: Path) -> None:
    def run(*arguments: str, api_key: str = key) -> tuple[int, str]:
        command = [python_with("removebg"), "-c", _COMMAND, gateway.http, *arguments]
        done = run_client(command, folder, REMOVE_BG_API_KEY=api_key, COLUMNS="200")
        return done.returncode, done.stdout + done.stderr

    status, shown = run("photo.jpg", "-o", "cut.png", "-c", "-s", "full", "-b", "white")
    assert (status, "0 credits" in shown) == (0, True), shown
    assert (folder / "cut.png").read_bytes() == RESULT
    assert json.loads(triton.options[-1]) == {"background": "#ffffffff", "crop": True, "size": 10.0}
    status, shown = run("--account")
    assert (status, "1000000" in shown) == (0, True), shown
    status, shown = run("photo.jpg", api_key="wrong")
    assert (status, "API Key invalid" in shown) == (1, True), shown


_REMOVE_BG_API = """
import sys, json, remove_bg_api as package
package.API_URL = sys.argv[1] + "/v1.0"
client = package.RemoveBg(sys.argv[2])
before = client.account.balance()
open("bytes.png", "wb").write(client.remove_bg_bytes(open("photo.jpg", "rb").read()))
options = {"size": "medium", "type": "person", "type_level": "none", "roi": "0 0 50% 100%", "scale": "80%"}
client.remove_bg_file("photo.jpg", out_path="file.png", raw=False, data=options)
client.remove_bg_base64(open("photo.b64").read(), out_path="b64.png", raw=False)
refused = []
for call in (
    lambda: client.remove_bg_file("photo.jpg", data={"size": "huge"}),
    lambda: client.remove_bg_url("https://example.com/photo.jpg"),
    lambda: package.RemoveBg("wrong"),
):
    try:
        call()
    except Exception as error:
        refused.append(type(error).__name__)
balance = client.account.balance()
print(json.dumps([before, balance, client.account.get_balance_dict(), client.account.free_api_calls(), refused]))
"""


def test_remove_bg_api(gateway: GatewayProcess, triton: FakeTriton, key: str, folder: Path) -> None:
    done = run_client([python_with("remove_bg_api"), "-c", _REMOVE_BG_API, gateway.http, key], folder)
    assert done.returncode == 0, done.stderr
    before, after, credits, free, refused = json.loads(done.stdout)
    assert before == after == credits["total"] == free > 0
    assert refused == ["ApiErrorCode400", "ApiErrorCode400", "ApiErrorCode403"]
    assert [(folder / name).read_bytes() for name in ("bytes.png", "file.png", "b64.png")] == [RESULT] * 3
    assert json.loads(triton.options[1]) == {
        "mode": "portrait",
        "size": 1.5,
        "roi": "0.0px 0.0px 50.0% 100.0%",
        "scale": "80.0%",
    }


_NODE = """
const fs = require("fs"), Module = require("module");
const file = require.resolve("remove.bg");
const patched = new Module(file, null);
patched.filename = file;
patched.paths = Module._nodeModulePaths(file);
patched._compile(fs.readFileSync(file, "utf8").replace("https://api.remove.bg", process.argv[1]), file);
const client = patched.exports, apiKey = process.argv[2];
(async () => {
  const found = [];
  const attempt = async (call) => { try { found.push(await call); } catch (error) { found.push(error); } };
  await attempt(client.removeBackgroundFromImageFile({
    path: "photo.jpg", apiKey, size: "full", type: "product", crop: true, crop_margin: "10%",
    outputFile: "file.png" }));
  await attempt(client.removeBackgroundFromImageBase64({
    base64img: fs.readFileSync("photo.b64", "utf8"), apiKey, scale: "50%", roi: "0% 0% 100% 100%", bg_color: "81d4fa77",
    channels: "rgba", add_shadow: true, outputFile: "b64.png" }));
  await attempt(client.removeBackgroundFromImageUrl({ url: "https://example.com/photo.jpg", apiKey }));
  await attempt(client.removeBackgroundFromImageFile({ path: "photo.jpg", apiKey: "wrong" }));
  await attempt(client.removeBackgroundFromImageFile({ path: "photo.jpg", apiKey, crop: true, scale: "50%" }));
  console.log(JSON.stringify(found));
})();
"""


def test_npm_remove_bg(gateway: GatewayProcess, triton: FakeTriton, key: str, folder: Path) -> None:
    modules = node_modules()
    done = run_client(["node", "-e", _NODE, gateway.http, key], folder, NODE_PATH=str(modules))
    assert done.returncode == 0, done.stderr
    from_file, from_base64, *refused = json.loads(done.stdout)
    _check_node_result(from_file, "product")
    _check_node_result(from_base64, "person")
    assert [error[0]["code"] for error in refused] == ["invalid_image_url", "auth_failed", "invalid_scale"]
    assert [(folder / name).read_bytes() for name in ("file.png", "b64.png")] == [RESULT] * 2
    assert [json.loads(options) for options in triton.options] == [
        {"mode": "product", "size": 10.0, "crop": True, "margin": " ".join(["10.0%"] * 4)},
        {"background": "#81d4fa77", "size": 0.25, "scale": "50.0%", "shadow": "soft 35.0%"},
    ]


def _check_node_result(result: dict[str, Any], kind: str) -> None:
    assert base64.b64decode(result["base64img"]) == RESULT
    assert (result["creditsCharged"], result["detectedType"]) == ("0", kind)
    assert (result["resultWidth"], result["resultHeight"]) == ("96", "64")
    assert result["rateLimit"] == "500"
    assert int(result["rateLimitRemaining"]) < 500
