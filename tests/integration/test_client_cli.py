"""The command `cutout` against a real server: results, reports and exit statuses."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cutout_client.cli import main
from cutout_core.contract import ErrorCode, Options
from tests.integration.client_server import RESULT, Answer, ScriptedServer, serve_grpc, serve_http


@pytest.fixture(scope="module")
def _server() -> Iterator[ScriptedServer]:
    with serve_http() as server:
        yield server


@pytest.fixture
def server(_server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedServer:
    """The server that CUTOUT_SERVER names; the working directory is empty."""
    _server.answers.clear()
    _server.seen.clear()
    _server.arrived.clear()
    monkeypatch.setenv("CUTOUT_SERVER", _server.url)
    monkeypatch.chdir(tmp_path)
    return _server


def photos(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(f"photo {name}".encode())


def files(folder: str) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def start(*arguments: str, stdin: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cutout_client", *arguments]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_one_photo(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("photo.jpg")
    assert main(["photo.jpg", "-o", "out.png"]) == 0
    assert main(["photo.jpg"]) == 0
    assert files(".") == {"photo.jpg": b"photo photo.jpg", "out.png": RESULT, "photo.cutout.png": RESULT}
    assert server.seen[0].image == b"photo photo.jpg"
    assert capsys.readouterr() == ("out.png\nphoto.cutout.png\n", "1 done\n1 done\n")


def test_options_reach_the_server(server: ScriptedServer) -> None:
    photos("photo.jpg")
    options = ["--background", "#fff", "--size", "0.5", "--icc", "srgb", "--quality", "high", "--timeout", "9"]
    options += ["--mode", "product", "--decontaminate", "off", "--cleanup", "on"]
    assert main(["photo.jpg", "-o", "out.jpg", *options]) == 0
    expected = {"output": "jpeg", "background": "#fff", "size": "0.5", "icc": "srgb", "quality": "high"}
    assert server.seen[0].options == expected | {"mode": "product", "decontaminate": "False", "cleanup": "True"}
    assert server.seen[0].timeout_ms == pytest.approx(9000, abs=500)


def test_a_shops_picture(server: ScriptedServer) -> None:
    photos("photo.jpg")
    assert main(["photo.jpg", "--canvas", "2000x2000", "--scale", "85%", "-o", "a.jpg", "--crop", "off"]) == 0
    assert server.seen[-1].options == {"output": "jpeg", "canvas": "2000x2000", "scale": "85%", "crop": "False"}
    assert main(["photo.jpg", "--preset", "amazon", "--max-bytes", "90000"]) == 0
    assert server.seen[-1].options == {"output": "jpeg", "preset": "amazon", "max_bytes": "90000"}
    assert main(["photo.jpg", "-f", "zip"]) == 0
    assert main(["photo.jpg", "-f", "jpg", "--overwrite"]) == 0
    assert server.seen[-1].options == {"output": "jpeg"}
    assert sorted(files(".")) == ["a.jpg", "photo.cutout.jpg", "photo.cutout.zip", "photo.jpg"]
    with serve_grpc() as grpc_server:
        assert main(["photo.jpg", "-o", "b.png", "--background-image", "a.jpg", "--server", grpc_server.url]) == 0
        assert grpc_server.seen[-1].image == b"photo photo.jpg"


def test_over_grpc(server: ScriptedServer) -> None:
    photos("a.jpg", "b.jpg")
    with serve_grpc() as grpc_server:
        assert main(["a.jpg", "b.jpg", "-o", "out", "--server", grpc_server.url]) == 0
        assert len(grpc_server.seen) == 2
    assert files("out") == {"a.png": RESULT, "b.png": RESULT}


def test_a_folder_with_errors_lists_them_at_the_end(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("in/a.jpg", "in/b.jpg", "in/sub/c.webp", "in/.d.jpg", "in/readme.txt")
    server.answers.extend([Answer(), Answer(ErrorCode.TRUNCATED_IMAGE), Answer(warnings=("no_subject",))])
    assert main(["in/", "-o", "out/", "-j", "1", "-f", "webp"]) == 1
    assert files("out") == {"a.webp": RESULT, "sub/c.webp": RESULT}
    out, err = capsys.readouterr()
    assert out.splitlines() == ["out/a.webp", "out/sub/c.webp"], "the paths of what was written"
    lines = err.splitlines()
    assert lines[-2] == "2 done, 1 failed"
    assert lines[-1].startswith("  in/b.jpg: truncated_image: The image file ends too early. (request id ")
    assert any(line.startswith("in/sub/c.webp: warning: No subject was found") for line in lines)


def test_a_file_that_cannot_be_read_fails_alone(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("a.jpg")
    assert main(["a.jpg", "absent.jpg", "-o", "out/", "--quiet"]) == 1
    assert files("out") == {"a.png": RESULT}
    assert capsys.readouterr() == ("", "  absent.jpg: No such file or directory\n")


def test_a_result_that_cannot_be_written_fails_alone(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    photos("in/a.jpg", "in/sub/b.jpg", "out/sub")
    assert main(["in", "-o", "out"]) == 1
    assert files("out") == {"a.png": RESULT, "sub": b"photo out/sub"}
    assert "in/sub/b.jpg: " in capsys.readouterr().err


def test_existing_results_are_skipped_and_counted(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("in/a.jpg", "in/b.jpg", "out/a.png")
    assert main(["in", "-o", "out"]) == 0
    assert files("out") == {"a.png": b"photo out/a.png", "b.png": RESULT}
    assert "1 done, 1 skipped because the result exists (--overwrite replaces it)" in capsys.readouterr().err
    assert main(["in", "-o", "out", "--overwrite"]) == 0
    assert files("out") == {"a.png": RESULT, "b.png": RESULT}
    assert len(server.seen) == 3


def test_photos_of_one_name_both_get_a_result(server: ScriptedServer) -> None:
    photos("in/a.jpg", "in/a.webp")
    assert main(["in", "-o", "out"]) == 0
    assert files("out") == {"a.jpg.png": RESULT, "a.webp.png": RESULT}


def test_a_result_that_a_person_should_look_at_is_named(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    photos("a.jpg", "b.jpg")
    server.answers.extend([Answer(confidence=0.447), Answer(confidence=0.9)])
    assert main(["a.jpg", "b.jpg", "-o", "out", "-j", "1"]) == 0
    assert capsys.readouterr().err == "a.jpg: confidence 0.45: look at the result\n2 done\n"


def test_a_missing_key_tells_where_the_command_takes_one(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    photos("a.jpg")
    server.answers.append(Answer(ErrorCode.MISSING_KEY))
    assert main(["a.jpg"]) == 1
    assert "Give --api-key or set CUTOUT_API_KEY." in capsys.readouterr().err


def test_json_tells_each_image(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("in/a.jpg", "in/b.jpg", "in/c.jpg", "out/c.png")
    server.answers.extend([Answer(warnings=("no_subject",)), Answer(ErrorCode.NOT_AN_IMAGE)])
    assert main(["in", "-o", "out", "-j", "1", "--json", "-q"]) == 1
    done, failed, skipped = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert done.pop("request_id") == server.seen[0].request_id
    assert done == {
        "path": "in/a.jpg",
        "output": "out/a.png",
        "status": "done",
        "width": 40,
        "height": 30,
        "bytes": len(RESULT),
        "confidence": 0.9375,
        "warnings": ["no_subject"],
        "violations": [],
        "timings_ms": {"queue": 0.25, "engines": 12.5, "total": 20.0},
    }
    assert (failed["path"], failed["status"]) == ("in/b.jpg", "failed")
    assert failed["error"] == {
        "code": "not_an_image",
        "message": "The bytes are not an image.",
        "request_id": server.seen[1].request_id,
        "retryable": False,
    }
    assert skipped == {"path": "in/c.jpg", "output": "out/c.png", "status": "skipped"}


def test_standard_input_and_output(
    server: ScriptedServer, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"piped")))
    assert main(["-", "-f", "webp", "-q"]) == 0
    assert capsysbinary.readouterr() == (RESULT, b"")
    assert (server.seen[0].image, server.seen[0].options) == (b"piped", {"output": "webp"})


def test_pipes_between_processes(server: ScriptedServer) -> None:
    process = start("-", stdin=subprocess.PIPE)
    out, err = process.communicate(b"piped", timeout=20)
    assert (process.returncode, out, err) == (0, RESULT, b"1 done\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.jpg", "--crop", "on", "--scale", "50%"], "decide the subject's size already"),
        (["a.jpg", "--background-image", "absent.png"], "absent.png: No such file"),
        (["a.jpg", "--background-image", "a.jpg", "--background", "white"], "There are two backgrounds"),
        (["a.jpg", "-o", "out.jpg", "-f", "png"], "contradicts --output png"),
        (["a.jpg", "-f", "gif"], "invalid choice"),
        (["a.jpg", "--background", "blurple"], "'background' is 'blurple'"),
        (["a.jpg", "-f", "jpeg", "--background", "#0008"], "JPEG has no transparency"),
        (["a.jpg", "--quality", "best"], "'quality' is 'best'"),
        (["a.jpg", "--mode", "pet"], "invalid choice: 'pet'"),
        (["a.jpg", "--mode", "product", "--quality", "fast"], "has no matting"),
        (["a.jpg", "--size", "0"], "is not above 0"),
        (["a.jpg", "-j", "0"], "not a whole number from 1"),
        (["a.jpg", "--timeout", "soon"], "--timeout"),
        (["a.jpg", "--server", "localhost:8080"], "is no server"),
        (["a.jpg", "-o", "-", "--json"], "redirect it"),
        (["a.jpg", "--over"], "unrecognized arguments"),
        ([], "INPUT"),
    ],
)
def test_wrong_usage_sends_nothing(
    server: ScriptedServer, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    photos("a.jpg")
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    out, err = capsys.readouterr()
    assert reason in err
    assert (out, err.count("\n"), err.startswith("cutout: ")) == ("", 1, True), "one line"
    assert err.endswith("; see cutout --help\n")
    assert server.seen == []


def test_a_path_that_is_no_text_is_told_byte_by_byte(server: ScriptedServer, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.jpg"
    with open(name, "wb") as file:
        file.write(b"photo")
    out, err = start(os.fsdecode(name)).communicate(timeout=20)
    assert (out, err) == (name.replace(b".jpg", b".cutout.png") + b"\n", b"1 done\n")


def test_no_server(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos(*(f"in/{n}.jpg" for n in range(9)))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        assert main(["in", "-o", "out", "--server", url, "--retries", "0", "-j", "2"]) == 3
    err = capsys.readouterr().err
    assert f"no server answers at {url}: is `make serve` running?" in err
    assert "2 failed, 7 not tried" in err
    assert "request id" not in err, "no server has the request"
    assert not Path("out").exists()


@pytest.mark.parametrize("stream", [False, True], ids=["cutout", "bulk"])
def test_the_wrong_port(server: ScriptedServer, capsys: pytest.CaptureFixture[str], stream: bool) -> None:
    photos(*(f"in/{n}.jpg" for n in range(9)))
    Path("in/0.jpg").write_bytes(bytes(4_000_000))  # the gRPC port hangs up before it has all of it
    command = ["bulk", "in", "-o", "out"] if stream else ["in", "-o", "out", "-j", "2"]
    with serve_grpc() as grpc_server:
        wrong = {
            grpc_server.url.replace("grpc:", "http:"): "no HTTP/1.1 is spoken there: a gRPC port is given as grpc://",
            server.url.replace("http:", "grpc:"): "no gRPC is spoken there: an HTTP port is given as http://",
        }
        for url, reason in wrong.items():
            assert main([*command, "--server", url]) == 3
            err = capsys.readouterr().err
            assert reason in err
            assert f"no Cutout server answers at {url}" in err
            assert "request id" not in err
            assert stream or "2 failed, 7 not tried" in err, "not retried, and not tried for every photo"
    assert server.seen == []


def test_a_dropped_connection_is_one_images_failure(server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> None:
    photos("in/a.jpg", "in/b.jpg")
    server.answers.append(Answer(hang_up=True))
    assert main(["in", "-o", "out", "-j", "1", "--retries", "0"]) == 1
    assert files("out") == {"b.png": RESULT}
    assert "1 done, 1 failed" in capsys.readouterr().err


def test_overload_is_retried(server: ScriptedServer) -> None:
    photos("a.jpg")
    server.answers.append(Answer(ErrorCode.OVERLOADED))
    assert main(["a.jpg", "-o", "out.png"]) == 0
    assert len(server.seen) == 2


def test_the_number_in_flight_is_bounded(server: ScriptedServer) -> None:
    photos(*(f"in/{n}.jpg" for n in range(8)))
    server.answers.extend([Answer(delay_s=0.25)] * 8)
    assert main(["in", "-o", "out", "-j", "4", "-q"]) == 0
    assert len(server.seen) == 8
    assert server.most_in_flight == 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopping_midway_leaves_only_whole_files(server: ScriptedServer, how: signal.Signals) -> None:
    photos(*(f"in/{n}.jpg" for n in range(6)))
    first = Answer(delay_s=0.5)  # so that photo 1 arrives before photo 2, which follows the answer to photo 0
    server.answers.extend([first, first, *[Answer(delay_s=4)] * 4])
    process = start("in", "-o", "out", "-j", "2")
    deadline = time.monotonic() + 20
    while len(server.seen) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    process.send_signal(how)
    _, err = process.communicate(timeout=20)
    assert time.monotonic() - began < 3, "what is in flight is dropped and not waited for"
    assert files("out") == {"0.png": RESULT, "1.png": RESULT}
    if how is signal.SIGINT:
        assert process.returncode == 130
        assert err.splitlines()[-2:] == [b"2 done, 4 not tried", b"interrupted"]
    server.answers.clear()
    assert main(["in", "-o", "out", "-q"]) == 0
    assert len(files("out")) == 6


def test_a_reader_that_leaves_early_gets_no_traceback(server: ScriptedServer) -> None:
    photos(*(f"in/{n}.jpg" for n in range(20)))
    process = start("in", "-o", "out", "--json", "-q")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (err, process.wait(20)) == (b"", 1)


def test_help_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for option in (*Options.__dataclass_fields__, "server", "jobs", "timeout"):
        assert f"--{option.replace('_', '-')}" in text
    assert "background_image" not in text
    assert "Only with --crop." in " ".join(text.split())
    assert "or alpha: the result" in " ".join(text.split()), "a value is no option"
    for part in ("--retries", "--overwrite", "--json", "--quiet", "examples:", "exit status:", "CUTOUT_SERVER"):
        assert part in text


def test_the_installed_command_is_the_same() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="cutout")
    assert command.load() is main
