"""The README's examples, executed as they stand (with this run's ports)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cutout_build.photos import photo
from tests.integration.gateway_process import running_gateway

README = Path(__file__).parents[2] / "README.md"
EXPECTED = {
    "cutout.png": ("PNG", "RGBA", (600, 400)),
    "white.jpg": ("JPEG", "RGB", (600, 400)),
    "shop.jpg": ("JPEG", "RGB", (2000, 2000)),
    "shop2.jpg": ("JPEG", "RGB", (2000, 2000)),
    "small.webp": ("WEBP", "RGBA", None),
    "cutout.webp": ("WEBP", "RGBA", (600, 400)),
    "orange.png": ("PNG", "RGB", (600, 400)),
    "piped.png": ("PNG", "RGBA", (600, 400)),
    "cutouts/a.jpg": ("JPEG", "RGB", (600, 400)),
}


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_example_runs(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with running_gateway(tmp_path) as gateway:
        work = tmp_path / "work"
        (work / "photos").mkdir(parents=True)
        with Image.open(photo("coffee")) as image:
            image.convert("RGB").save(work / "photo.jpg", quality=92)
        shutil.copy(work / "photo.jpg", work / "photos" / "a.jpg")
        scripts = Path(sys.executable).parent
        env = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "CUTOUT_SERVER": gateway.http}
        blocks = re.findall(r"<!-- run -->\n```(bash|python)\n(.*?)```", README.read_text(), re.DOTALL)
        assert len(blocks) >= 4
        for language, code in blocks:
            code = code.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.http_port}")
            code = code.replace("127.0.0.1:8081", f"127.0.0.1:{gateway.grpc_port}")
            command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
            done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        assert gateway.stop() == 0
    for name, (kind, mode, size) in EXPECTED.items():
        with Image.open(work / name) as image:
            assert (image.format, image.mode) == (kind, mode), name
            assert size is None or image.size == size, name
    assert (work / "answer.json").read_text().startswith('{"result":"')
