"""The generated messages are those of the .proto file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3] / "core"


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'proto'}"]
    command += [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "cutout/v1/cutout.proto"]
    subprocess.run(command, check=True, capture_output=True)
    for name in ("cutout_pb2.py", "cutout_pb2.pyi"):
        fresh = (tmp_path / "cutout" / "v1" / name).read_text()
        assert fresh == (ROOT / "cutout_core" / "contract" / name).read_text(), "run: make proto"
