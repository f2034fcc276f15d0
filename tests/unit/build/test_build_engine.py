"""A whole build, of a tiny net and with drawn pictures for photos: files, idempotence, the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cutout_build import build_engine as build_module
from cutout_build.__main__ import main
from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Catalogue
from cutout_build.errors import BuildError
from cutout_core.contract.engine import EngineManifest
from tests.unit.build.graphs import SIZE, published_graph

BOUNDS = "fp32_max = 1e-3\nfp32_mean = 1e-4\n"


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build_module, "photo", lambda name, say: _picture(tmp_path, name))
    weights = published_graph(tmp_path / "net.onnx")
    path = tmp_path / "models.toml"
    path.write_text(
        f'[net]\nmodel = "segmentation"\ninput_size = {SIZE}\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n'
        'divide_by_max = false\nopset = 17\nbatch = [1, 4, 16]\n[net.source]\nfile = "net.onnx"\n'
        f'sha256 = "{hashlib.sha256(weights.read_bytes()).hexdigest()}"\n'
        '[net.license]\nspdx = "CC0-1.0"\nattribution = "a test"\nhomepage = "none"\n'
        f"[net.check]\n{BOUNDS}"
        "[net.precisions]\nbf16 = { mae = 0.01, gt_loss = 0.01 }\nfp16 = { mae = 0.004, gt_loss = 0.01, keep = [] }\n"
    )
    return path


def _picture(folder: Path, name: str) -> Path:
    path = folder / f"{name}.png"
    pixels = np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_a_build_writes_graph_manifest_and_report(catalogue: Path, tmp_path: Path) -> None:
    (engine,) = Catalogue.load(catalogue).defaults()
    built = build_engine(engine, say=lambda line: None)
    assert built.fresh
    assert built.folder == tmp_path / "cache" / "engines" / "segmentation"
    assert sorted(path.name for path in built.folder.iterdir()) == [
        "certificate.json",
        "check.json",
        "model.json",
        "model.onnx",
        "model_fp16.onnx",
    ]
    assert [path.name for path in built.folder.parent.iterdir() if path.name != ".lock"] == ["segmentation"]

    manifest = EngineManifest.read(built.folder)
    assert manifest == built.manifest
    assert manifest.graph_sha256 == hashlib.sha256((built.folder / "model.onnx").read_bytes()).hexdigest()
    assert (manifest.engine, manifest.input_size, manifest.divide_by_max) == ("net", SIZE, False)
    assert manifest.mean == (0.5, 0.5, 0.5)
    assert manifest.batch == (1, 4, 16)
    half = hashlib.sha256((built.folder / "model_fp16.onnx").read_bytes()).hexdigest()
    assert manifest.graphs == {"fp32": manifest.graph_sha256, "bf16": manifest.graph_sha256, "fp16": half}

    report = json.loads((built.folder / "check.json").read_text())
    runs = {(entry["runtime"], entry["precision"], entry["batch"]) for entry in report["comparisons"]}
    assert runs == {(runtime, "fp32", batch) for runtime in ("onnxruntime", "openvino") for batch in (1, 3)}
    for entry in report["comparisons"]:
        assert entry["passed"] is True
        assert all(0 <= photo["mean"] <= photo["max"] <= 1 for photo in entry["photos"])


def test_a_second_build_does_nothing(catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine,) = Catalogue.load(catalogue).defaults()
    first = build_engine(engine, say=lambda line: None)
    stamp = (first.folder / "model.onnx").stat().st_mtime_ns
    monkeypatch.setattr(build_module, "fetch_all", None)
    second = build_engine(engine, say=pytest.fail)
    assert not second.fresh
    assert second.manifest == first.manifest
    assert (first.folder / "model.onnx").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", ["graph", "half", "manifest", "report", "catalogue", "converter", "force"])
def test_what_has_changed_is_built_again(catalogue: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    (engine,) = Catalogue.load(catalogue).defaults()
    folder = build_engine(engine, say=lambda line: None).folder
    if change == "graph":
        (folder / "model.onnx").write_bytes(b"damaged")
    elif change == "half":
        (folder / "model_fp16.onnx").write_bytes(b"damaged")
    elif change == "manifest":
        (folder / "model.json").write_text("{}")
    elif change == "report":
        (folder / "check.json").unlink()
    elif change == "catalogue":
        catalogue.write_text(catalogue.read_text().replace("divide_by_max = false", "divide_by_max = true"))
        (engine,) = Catalogue.load(catalogue).defaults()
    elif change == "converter":
        monkeypatch.setattr(build_module, "CONVERTER_VERSION", -1)
    built = build_engine(engine, force=change == "force", say=lambda line: None)
    assert built.fresh
    assert EngineManifest.read(folder).divide_by_max == (change == "catalogue")
    assert not build_engine(engine, say=pytest.fail).fresh


def test_a_manifest_with_other_keys_is_written_anew(catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (engine,) = Catalogue.load(catalogue).defaults()
    before = build_module._recipe(engine)
    keys = dict.fromkeys(EngineManifest.__dataclass_fields__) | {"another": None}
    monkeypatch.setattr(build_module, "EngineManifest", SimpleNamespace(__dataclass_fields__=keys))
    assert build_module._recipe(engine) != before


def test_a_missed_fp32_bound_leaves_the_old_engine(catalogue: Path) -> None:
    (engine,) = Catalogue.load(catalogue).defaults()
    first = build_engine(engine, say=lambda line: None)
    catalogue.write_text(catalogue.read_text().replace("fp32_max = 1e-3", "fp32_max = 0.0"))
    (strict,) = Catalogue.load(catalogue).defaults()
    with pytest.raises(BuildError, match="differs from the published one"):
        build_engine(strict, say=lambda line: None)
    assert EngineManifest.read(first.folder) == first.manifest
    assert [path.name for path in first.folder.parent.iterdir() if path.name != ".lock"] == ["segmentation"]


def test_the_command_line_says_what_it_did(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--catalogue", str(catalogue)]) == 0
    first = capsys.readouterr().out
    assert "net for segmentation, built in" in first
    assert "CC0-1.0; a test" in first
    assert main(["models", "--catalogue", str(catalogue)]) == 0
    assert capsys.readouterr().out.startswith("net for segmentation is up to date: ")


def test_the_command_line_ends_with_one_sentence(catalogue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--catalogue", str(catalogue), "--engine", "other"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "cutout_build: There is no engine 'other' in the catalogue; known are net.\n"
