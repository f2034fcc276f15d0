"""The demo script, on the user's own photos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from PIL import Image

from cutout_build.photos import photo

DEMO = Path(__file__).parents[2] / "client" / "demo" / "run.py"

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(300)]


def run_demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DEMO, *map(str, arguments)], capture_output=True, text=True, timeout=200)


def test_the_demo_on_a_folder(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in ("astronaut", "coffee"):
        with Image.open(photo(name)) as image:
            image.convert("RGB").save(folder / f"{name}.jpg", quality=92)
    before = {p.pid for p in psutil.process_iter()}
    done = run_demo(folder, "--out", out)
    assert done.returncode == 0, done.stdout + done.stderr
    for name, size in (("astronaut", (512, 512)), ("coffee", (600, 400))):
        with Image.open(out / f"{name}.png") as image:
            assert (image.mode, image.size) == ("RGBA", size)
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 360
    for word in ("http", "grpc", "engines", "images/s", str(out)):
        assert word in done.stdout
    left = [p for p in psutil.process_iter() if p.pid not in before and p.name() in {"tritonserver", "python"}]
    assert not [p for p in left if "cutout" in " ".join(p.cmdline())], "processes are left"


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
