"""Which processes are recorded, and what is said where none can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cutout_loadtest.profile import Target, record, stub_model, targets


def test_a_stub_is_told_by_its_program_and_its_model() -> None:
    stub = "/x/triton_python_backend_stub"
    assert stub_model([stub, "/run/models/postprocess/1/model.py", "prefix", "1"]) == "postprocess"
    assert stub_model(["/x/tritonserver", "/run/models/postprocess/1/model.py"]) is None
    assert stub_model([stub]) is None
    assert stub_model([]) is None


def test_instances_of_one_model_get_names_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stubs = {11: "postprocess", 12: "postprocess", 13: "postprocess_high", 14: "postprocess"}
    commands = {pid: ["triton_python_backend_stub", f"/m/{model}/1/model.py"] for pid, model in stubs.items()}
    monkeypatch.setattr("cutout_loadtest.profile.procfs.tree", lambda root: {root, 10, *stubs})
    monkeypatch.setattr("cutout_loadtest.profile.procfs.command_line", lambda pid: commands.get(pid, ["tritonserver"]))
    assert [target.name for target in targets(9)] == [
        "gateway",
        "postprocess",
        "postprocess-2",
        "postprocess_high",
        "postprocess-3",
    ]


def test_a_missing_right_to_trace_is_told_with_its_remedy(tmp_path: Path) -> None:
    refuses = tmp_path / "py-spy"
    refuses.write_text("#!/bin/sh\necho 'Error: Permission Denied: Try running again with elevated permissions' >&2\n")
    refuses.chmod(0o755)
    with pytest.raises(RuntimeError, match="SYS_PTRACE"):
        record(refuses, [Target("gateway", os.getpid())], 1, tmp_path / "out")
