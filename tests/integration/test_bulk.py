"""`cutout bulk` as its users run it: against the gateway over both protocols, killed, refused, on an object store."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from cutout_client.cli import main
from cutout_core.contract import ErrorCode
from tests.integration.client_server import RESULT as SCRIPTED_RESULT
from tests.integration.client_server import Answer, ScriptedServer, serve_grpc, serve_http
from tests.integration.fake_triton import RESULT, FakeTriton
from tests.integration.gateway_process import GatewayProcess


def jpeg(number: int) -> bytes:
    """Small photos, each of its own bytes."""
    buffer = BytesIO()
    Image.new("RGB", (24, 16), "red").save(buffer, "JPEG", comment=f"number {number}")
    return buffer.getvalue()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve photos, two of one name in sub-folders."""
    folder = tmp_path / "photos"
    for number in range(12):
        path = folder / ("sub" if number > 8 else "") / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return folder


@pytest.fixture(params=["http", "grpc"])
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with serve_http() if request.param == "http" else serve_grpc() as script:
        yield script


@pytest.fixture
def streaming() -> Iterator[ScriptedServer]:
    with serve_grpc() as script:
        yield script


def bulk(*arguments: object) -> int:
    return main(["bulk", *(str(argument) for argument in arguments)])


def journal(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / ".cutout-bulk" / "journal.ndjson").read_text().splitlines()]


def results(out: Path) -> set[str]:
    return {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.is_file() and ".cutout-bulk" not in str(path)
    }


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_folder(
    gateway: GatewayProcess,
    triton: FakeTriton,
    photos: Path,
    tmp_path: Path,
    protocol: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    url = gateway.http if protocol == "http" else f"grpc://{gateway.grpc}"
    (photos / "notes.txt").write_text("no photo")
    (photos / "bad.jpg").write_bytes(b"no photo either")
    assert bulk(photos, "-o", out, "--server", url, "--output", "webp", "--json") == 1
    names = {f"{number:02d}.webp" for number in range(9)} | {f"sub/{number:02d}.webp" for number in range(9, 12)}
    assert results(out) == names
    assert all((out / name).read_bytes() == RESULT for name in names)
    told = capsys.readouterr()
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert Counter(line["status"] for line in lines[:-1]) == {"done": 12, "failed": 1}
    assert lines[-1]["summary"]["done"] == 12
    assert "12 done, 1 failed" in told.err
    (dead,) = (json.loads(line) for line in (out / ".cutout-bulk" / "failed.ndjson").read_text().splitlines())
    assert (out / ".cutout-bulk" / dead["image"]).resolve() == (photos / "bad.jpg").resolve()
    assert dead["_code"] == "not_an_image"

    seen = len(triton.images)
    assert bulk(photos, "-o", out, "--server", url, "--output", "webp") == 1  # nothing is left to do
    assert len(triton.images) == seen
    err = capsys.readouterr().err
    assert "nothing left to do; 12 done before" in err
    assert "images/s" not in err

    (photos / "bad.jpg").write_bytes(jpeg(99))  # another photo now, so it is another item
    assert bulk(photos, "-o", out, "--server", url, "--output", "webp") == 0
    assert len(triton.images) == seen + 1
    assert (out / "bad.webp").exists()
    assert not (out / ".cutout-bulk" / "failed.ndjson").exists()


def test_a_manifest_with_options_of_its_rows(server: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    rows = [
        {"image": "photos/00.jpg"},
        {"image": "photos/00.jpg", "output": "jpeg", "background": "white"},
        {"image": "photos/00.jpg", "background": "red"},
        {"image": "photos/00.jpg", "background": "red"},
        {"image": str(photos / "01.jpg"), "name": "goods/first"},
        {"image": str(photos / "02.jpg"), "name": "second.webp"},
        {"image": "photos/sub/../03.jpg"},
        {"image": "photos/04.jpg", "background": "no colour"},
        {"image": "photos/missing.jpg"},
    ]
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "name", "output", "background", "_note"])
        writer.writeheader()
        writer.writerows(rows)
    out = tmp_path / "out"
    assert bulk(manifest, "-o", out, "--server", server.url, "--quality", "fast") == 1
    names = {"photos/00.png", "photos/00.jpg", "photos/00.jpg.png", "goods/first.png", "second.webp", "03.png"}
    assert results(out) == names
    by_target = {line["output"]: line for line in journal(out)}
    assert by_target["photos/04.png"]["error"]["field"] == "background"
    assert by_target["photos/missing.png"]["error"]["code"] == "file"
    sent = [seen.options for seen in server.seen]
    assert len(sent) == 6
    assert all(options["quality"] == "fast" for options in sent)
    assert {"quality": "fast", "output": "jpeg", "background": "white"} in sent
    assert {"quality": "fast", "output": "webp"} in sent


def test_failures_are_tried_again_only_when_asked(server: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    server.answers.append(Answer(ErrorCode.INTERNAL))
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 1
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 1
    assert len(server.seen) == 12
    dead = out / ".cutout-bulk" / "failed.ndjson"
    listed = tmp_path / "listed.ndjson"
    listed.write_text(dead.read_text())
    assert len(listed.read_text().splitlines()) == 1
    assert bulk(dead, "-o", tmp_path / "other", "--server", server.url, "-q") == 0  # it is a manifest itself
    assert len(results(tmp_path / "other")) == 1
    assert bulk(photos, "-o", out, "--server", server.url, "-q", "--retry-failed") == 0
    assert len(server.seen) == 14
    assert len(results(out)) == 12
    assert not dead.exists()


def test_refusals_are_followed_and_fail_nothing(
    server: ScriptedServer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers.extend([Answer(ErrorCode.OVERLOADED, retry_after_s=1)] * 8)
    started = time.monotonic()
    assert bulk(photos, "-o", tmp_path / "out", "--server", server.url, "--json", "--retries", "0") == 0
    assert time.monotonic() - started >= 2.0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert summary["refusals"] == 8
    assert summary["done"] == 12
    assert summary["most_in_flight"] <= 4
    assert len(server.seen) == 20


def test_a_job_of_more_than_the_gateway_admits(
    gateway: GatewayProcess, triton: FakeTriton, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This gateway takes four requests at a time; sixteen at once are refused, told when to come back, and all done."""
    triton.delay_s = 0.05
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.jpg").write_bytes(jpeg(number))
    assert bulk(folder, "-o", tmp_path / "out", "--server", gateway.http, "-j", "16", "--json") == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])["summary"]
    assert summary["done"] == 40
    assert summary["refusals"] > 0
    assert len(triton.images) == 40


def start_bulk(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cutout_client", "bulk", *(str(argument) for argument in arguments), "-q"]
    return subprocess.Popen(command, start_new_session=True)


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_killed_again_and_again_it_neither_loses_nor_repeats(
    gateway: GatewayProcess, triton: FakeTriton, tmp_path: Path, protocol: str
) -> None:
    """Only what was in flight when the process died may reach the models twice; what was finished never does."""
    folder, out, jobs = tmp_path / "photos", tmp_path / "out", 3
    folder.mkdir()
    for number in range(90):
        (folder / f"{number:03d}.jpg").write_bytes(jpeg(number))
    url = gateway.http if protocol == "http" else f"grpc://{gateway.grpc}"
    arguments = (folder, "-o", out, "--server", url, "-j", jobs)
    triton.delay_s = 0.02
    lines = out / ".cutout-bulk" / "journal.ndjson"
    finished: dict[bytes, int] = {}
    for threshold in (15, 50):
        process = start_bulk(*arguments)
        while process.poll() is None and (not lines.exists() or lines.read_bytes().count(b"\n") < threshold):
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with lines.open("ab") as file:
            file.write(b'{"key": "cut off')
        time.sleep(0.3)  # what is in flight at the server ends
        counts = Counter(triton.images)
        for line in lines.read_bytes().split(b"\n")[:-1]:
            finished.setdefault(Path(json.loads(line)["image"]).read_bytes(), 0)
            finished.update({image: counts[image] for image, count in finished.items() if not count})
        assert len(finished) >= threshold
    assert start_bulk(*arguments).wait(60) == 0
    counts = Counter(triton.images)
    assert {image: counts[image] for image in finished} == finished, "finished work was repeated"
    assert results(out) == {f"{number:03d}.png" for number in range(90)}
    assert all((out / name).read_bytes() == RESULT for name in results(out))
    done = [line["key"] for line in journal(out)]
    assert len(done) == len(set(done)) == 90
    assert len(triton.images) <= 90 + 2 * jobs
    assert set(triton.images) == {jpeg(number) for number in range(90)}


def test_a_result_that_was_noted_but_not_placed_is_not_asked_for_again(
    server: ScriptedServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill between the journal's line and the renaming."""
    out = tmp_path / "out"
    monkeypatch.setattr("cutout_client._bulk.runner.Results.place", lambda self, item: None)
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    assert all(Path(name).name.startswith(".") for name in results(out))
    monkeypatch.undo()
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    assert len(server.seen) == 12
    assert len(results(out)) == 12
    assert not any(Path(name).name.startswith(".") for name in results(out))


def test_a_result_that_was_removed_is_made_again(server: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    (out / "03.png").unlink()
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    assert len(server.seen) == 13
    assert (out / "03.png").read_bytes() == SCRIPTED_RESULT


def test_files_of_others_are_left_alone(server: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "03.png").write_text("mine")
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    assert (out / "03.png").read_text() == "mine"
    assert len(server.seen) == 11
    assert bulk(photos, "-o", out, "--server", server.url, "-q", "--overwrite") == 0
    assert (out / "03.png").read_bytes() == SCRIPTED_RESULT
    assert len(server.seen) == 12
    assert bulk(photos, "-o", out, "--server", server.url, "-q", "--background", "red") == 0
    assert len(server.seen) == 24, "other options replace the job's own results"


def test_a_server_that_is_away_for_a_while(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with serve_grpc() as script:
        url, port = script.url, int(script.url.rsplit(":", 1)[1])
        script.answers.extend([Answer()] * 5 + [Answer(delay_s=1.0)] * 20)
        job: list[int] = []
        thread = threading.Thread(target=lambda: job.append(bulk(photos, "-o", out, "--server", url, "-q", "-j", "2")))
        thread.start()
        wait_for(lambda: len(script.seen) >= 6)
    time.sleep(0.5)
    with serve_grpc(port) as again:
        thread.join(30)
        assert job == [0]
        assert len(results(out)) == 12
        assert 5 <= len(again.seen) <= 7


def test_no_server(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert bulk(photos, "-o", out, "--server", "http://127.0.0.1:9") == 3
    assert "goes on later" in capsys.readouterr().err
    assert journal(out) == []


def test_patience_ends(
    server: ScriptedServer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers.extend([Answer(ErrorCode.OVERLOADED, retry_after_s=0)] * 10_000)
    assert bulk(photos, "-o", tmp_path / "out", "--server", server.url, "--patience", "0.3") == 3
    assert "nothing could be done for 0.3 s" in capsys.readouterr().err
    server.answers.clear()
    assert bulk(photos, "-o", tmp_path / "out", "--server", server.url) == 0


def test_a_dry_run_sends_and_writes_nothing(
    server: ScriptedServer, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert bulk(photos, "-o", out, "--server", server.url, "--dry-run", "--output", "webp") == 0
    told = capsys.readouterr()
    assert f"{photos}/00.jpg -> 00.webp   output=webp" in told.out.splitlines()
    assert "12 to do" in told.err
    assert not out.exists()
    assert bulk(photos, "-o", out, "--server", server.url, "-q") == 0
    assert bulk(photos, "-o", out, "--server", server.url, "--dry-run", "--json") == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "0 to do (0 of them with wrong options), 12 done" in told.err
    assert len(server.seen) == 12


@pytest.mark.slow
def test_two_runs_of_one_job_at_a_time(streaming: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    streaming.answers.extend([Answer(delay_s=3.0)] * 4)
    process = start_bulk(photos, "-o", out, "--server", streaming.url)
    try:
        assert streaming.arrived.wait(20)
        assert bulk(photos, "-o", out, "--server", streaming.url) == 3
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_an_interrupted_job_goes_on(streaming: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    streaming.answers.extend([Answer()] * 4 + [Answer(delay_s=3.0)] * 4)
    process = start_bulk(photos, "-o", out, "--server", streaming.url)
    wait_for(lambda: len(streaming.seen) >= 6, 20)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    streaming.answers.clear()
    seen, done = len(streaming.seen), len(journal(out))
    assert bulk(photos, "-o", out, "--server", streaming.url, "-q") == 0
    assert len(streaming.seen) == seen + 12 - done


def test_an_object_store(server: ScriptedServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pipe({f"/shop/in/{path.relative_to(photos)}": path.read_bytes() for path in photos.rglob("*.jpg")})
    store.pipe("/shop/list.ndjson", b'{"image": "in/01.jpg", "output": "webp"}\n{"image": "memory://shop/in/02.jpg"}\n')
    journal_flag = ("--journal", tmp_path / "job", "--server", server.url, "-q")
    assert bulk("memory://shop/in", "-o", "memory://shop/out", *journal_flag) == 0
    assert store.find("/shop/out") == [f"/shop/out/{n:02d}.png" for n in range(9)] + [
        f"/shop/out/sub/{n:02d}.png" for n in range(9, 12)
    ]
    assert store.cat_file("/shop/out/sub/09.png") == SCRIPTED_RESULT
    assert list((tmp_path / "job" / "staged").iterdir()) == []
    assert bulk("memory://shop/in", "-o", "memory://shop/out", *journal_flag) == 0
    assert len(server.seen) == 12
    assert bulk("memory://shop/list.ndjson", "-o", tmp_path / "local", "--server", server.url, "-q") == 0
    assert results(tmp_path / "local") == {"in/01.webp", "02.png"}

    again = ("memory://shop/in", "-o", "memory://shop/again", "--journal", tmp_path / "second", *journal_flag[2:])
    with monkeypatch.context() as patch:
        patch.setattr("cutout_client._bulk.runner._UPLOADS", 1)
        patch.setattr("cutout_client._bulk.storage.write_remote", refuse)
        assert bulk(*again) == 1
        seen = len(server.seen)
    assert bulk(*again) == 0
    assert len(server.seen) == seen, "a result that could not be sent to the store was made again"
    assert len(store.find("/shop/again")) == 12


def refuse(name: str, data: bytes) -> None:
    raise OSError(f"{name}: the store is away")


WRONG = {
    "no such column": ("image,colour\na.jpg,red\n", "there is no column 'colour'"),
    "no image": ("name\nx\n", "no 'image'"),
    "too many cells": ("image\na.jpg,b.jpg\n", "more cells"),
    "a name that leaves the folder": ("image,name\na.jpg,../a.png\n", "below the results' folder"),
    "a name that is taken": ("image,name\na.jpg,x.png\nb.jpg,X\n", "the name X.png is taken by"),
    "a name of another format": ("image,name,output\na.jpg,x.png,webp\n", "contradicts"),
    "empty": ("image\n", "has no rows"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_manifests(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, message = WRONG[case]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text(text)
    with pytest.raises(SystemExit) as left:
        bulk(manifest, "-o", tmp_path / "out")
    assert left.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("photos", "-o", "photos"), "would mix"),
        (("photos", "-o", "memory://out"), "--journal"),
        (("photos", "-o", "out", "--background", "none of these"), "'background'"),
        (("photos", "-o", "out", "--server", "ftp://x"), "is no server"),
        (("photos/00.jpg", "-o", "out"), "neither a folder nor a manifest"),
        (("missing.csv", "-o", "out"), "No such file"),
        (("nosuch://x/y", "-o", "out"), "nosuch"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    message: str,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(photos.parent)
    with pytest.raises(SystemExit) as left:
        bulk(*arguments)
    assert left.value.code == 2
    assert message in capsys.readouterr().err


def test_a_journal_that_is_none(server: ScriptedServer, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "journal.ndjson").write_text('{"something": "else"}\n')
    with pytest.raises(SystemExit) as left:
        bulk(photos, "-o", tmp_path / "out", "--journal", folder, "--server", server.url)
    assert left.value.code == 2
    assert (folder / "journal.ndjson").read_text() == '{"something": "else"}\n'


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
