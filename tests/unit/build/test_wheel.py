"""The wheel of the build package as the image makes it, from what its Dockerfile copies: it brings the certificates."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_images_wheel_finds_the_committed_certificates(tmp_path: Path) -> None:
    stages = re.split(r"^FROM .* AS (\S+)$", (ROOT / "deploy" / "Dockerfile").read_text(), flags=re.MULTILINE)
    for stage in ("gateway-packages", "triton-packages"):
        text = stages[stages.index(stage) + 1]
        for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
            *sources, target = line.split()
            for name in sources:
                place = tmp_path / "src" / target / (Path(name).name if target.endswith("/") else "")
                place.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, place)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path]
    subprocess.run([*command, tmp_path / "src" / "build"], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "opt"
    zipfile.ZipFile(wheel).extractall(installed)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from cutout_build.bring_certificate import committed_report as path; print(path())"
    )
    answer = subprocess.run(
        [sys.executable, "-I", "-c", code, installed], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    found = Path(answer.stdout.strip())
    assert found.is_relative_to(installed)
    assert found.read_bytes() == (ROOT / "reports" / "engines.json").read_bytes()
