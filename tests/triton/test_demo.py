"""The demo script, on the user's own photos."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import psutil
import pytest
from PIL import Image

from cutout_build.photos import photo

DEMO = Path(__file__).parents[2] / "client" / "demo" / "run.py"

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(300)]


def run_demo(*arguments: object, mark: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEMO), *map(str, arguments)]
    env = {**os.environ, "DEMO_TEST_MARK": mark}
    return subprocess.run(command, capture_output=True, text=True, timeout=200, env=env)


def marked(mark: str) -> list[psutil.Process]:
    """Processes that were started, however indirectly, with this mark in their environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("DEMO_TEST_MARK") == mark:
                found.append(process)
    return found


def test_the_demo_on_a_folder(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        with Image.open(photo(name)) as image:
            image.convert("RGB").save(folder / f"{name}.jpg", quality=92)
    mark = uuid.uuid4().hex
    done = run_demo(folder, "--out", out, mark=mark)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, size in (("astronaut", (512, 512)), ("coffee", (600, 400))):
        with Image.open(out / f"{name}.png") as image:
            assert (image.mode, image.size) == ("RGBA", size)
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 360
    for word in ("http", "grpc", "engines", "images/s", str(out)):
        assert word in done.stdout
    assert marked(mark) == [], "processes are left"


def test_a_photo_that_fails_is_told_and_the_others_are_done(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(photo("coffee").read_bytes()[:3000])
    with Image.open(photo("coffee")) as image:
        image.convert("RGB").save(tmp_path / "good.jpg")
    done = run_demo(tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "truncated_image" in done.stdout
    assert (tmp_path / "out" / "good.png").exists()


def test_no_photo_is_one_sentence(tmp_path: Path) -> None:
    done = run_demo(tmp_path)
    assert done.returncode == 1
    assert "no image files" in done.stderr
    assert "Traceback" not in done.stderr
