"""Certificates of a tiny net: what is measured, what is written, and that a corrupt graph is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from cutout_build import __main__ as command_line
from cutout_build.bring_certificate import bring_certificate
from cutout_build.build_engine import Built, build_engine
from cutout_build.catalogue import Catalogue, Engine
from cutout_build.certificate import certify as certify_module
from cutout_build.certificate import runs as runs_module
from cutout_build.certificate.cases import Case
from cutout_build.certificate.certify import certify
from cutout_build.certificate.runs import WAYS, Speed, Way, capabilities, speeds
from cutout_build.certificate.verdict import judge, losses
from cutout_build.errors import BuildError
from cutout_build.quality.composites import encode_jpeg
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.scales_file import Calibration, write_calibration
from cutout_build.quantize.unit_scale import gained_tensors
from cutout_core.contract.certificate import PrecisionError, choose
from cutout_core.contract.engine import EngineManifest, graph_name
from tests.unit.build.graphs import SIZE
from tests.unit.build.test_build_engine import catalogue

__all__ = ["catalogue"]

pytestmark = pytest.mark.slow

KEYS = {
    "engine", "precision", "runtime", "arithmetic", "mae", "iou", "gt_band_loss", "gt_iou_loss", "ms_b1",
    "speedup_vs_fp32", "bytes", "certified", "served", "reason",
    "model", "hint", "graph_sha256", "gmac", "ms_b4", "ms_b8", "band_error", "pictures", "worst", "license", "source",
    "source_sha256", "cpu", "tools", "timing", "bounds", "sheet", "speedup_b4", "speedup_b8", "rate_2_streams",
    "speedup_vs_bf16",
}  # fmt: skip


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self._left = iter([{"IMAGE": case.inputs["IMAGE"][None]} for case in cases()])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._left, None)


def cases() -> list[Case]:
    """Three made-up inputs; two with a made-up ground truth."""
    found = []
    for index in range(3):
        rng = np.random.default_rng(index)
        image = rng.normal(size=(3, SIZE, SIZE)).astype(np.float32)
        truth = np.zeros((96, 128), np.float32)
        truth[20:70, 30 + index : 90] = 1
        file = encode_jpeg(rng.integers(0, 256, (96, 128, 3), np.uint8), 90)
        found.append(Case(f"case {index}", file, {"IMAGE": image}, f"{index}", truth if index else None))
    return found


@pytest.fixture
def engine(catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The tiny net of the builds' tests, with a quantized graph from a file."""
    monkeypatch.setattr(certify_module, "certificate_cases", lambda engine, count: cases())
    monkeypatch.setattr(certify_module, "speeds", lambda graphs, *_: {way: Speed({1: 1.0}, None) for way in graphs})
    (plain,) = Catalogue.load(catalogue).defaults()
    graph = build_engine(plain, say=lambda line: None).folder / "model.onnx"
    quantize_static(
        graph,
        tmp_path / "int8.onnx",
        _Calibration(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "QuantizeBias": False},
    )
    return declare(catalogue, tmp_path / "int8.onnx")


def declare(catalogue: Path, graph: Path) -> Engine:
    """The catalogue's engine with `graph` as the one in int8."""
    sha256 = hashlib.sha256(graph.read_bytes()).hexdigest()
    source = f'source = {{ file = "{graph.name}", sha256 = "{sha256}" }}'
    lines = [line for line in catalogue.read_text().splitlines() if not line.startswith("int8")]
    catalogue.write_text("\n".join([*lines, f"int8 = {{ mae = 0.02, gt_loss = 0.2, {source} }}"]) + "\n")
    (engine,) = Catalogue.load(catalogue).defaults()
    return engine


def certified(engine: Engine, built: Built, tmp_path: Path) -> list[dict[str, object]]:
    return certify(engine, built, 2, tmp_path / "sheets", lambda line: None)


def test_every_precision_gets_its_rows(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certify_module, "speeds", speeds)
    built = build_engine(engine, say=lambda line: None)
    rows = certified(engine, built, tmp_path)
    assert [(row["precision"], row["runtime"], row["hint"]) for row in rows] == [
        ("fp32", "openvino", "f32"),
        ("bf16", "openvino", "bf16"),
        ("fp16", "openvino", "f32"),
        ("fp16", "onnxruntime", ""),
        ("int8", "openvino", "f32"),
        ("int8", "openvino", "bf16"),
    ]
    for row in rows:
        assert set(row) == KEYS
        assert row["bytes"] == (built.folder / graph_name(str(row["precision"]))).stat().st_size
        assert row["graph_sha256"] == built.manifest.graphs[str(row["precision"])]
        assert row["certified"] is True, row["reason"]
        timed = row["runtime"] == "openvino" and (row["hint"] == "f32" or "bf16" in capabilities())
        for key in ("ms_b1", "ms_b8", "speedup_vs_fp32", "speedup_b4", "speedup_b8", "rate_2_streams"):
            assert (row[key] is not None) == timed, (row["precision"], key)
        assert (row["speedup_vs_bf16"] is not None) == (timed and "bf16" in capabilities())
        assert str(row["timing"]).startswith("CPU time" if timed else "not timed: ")
    assert rows[3]["timing"] == "not timed: an emulation of what tensor cores compute"
    assert rows[0]["bounds"] == {"fp32_max": 1e-3, "fp32_mean": 1e-4}
    assert rows[3]["bounds"] == {"mae": 0.004, "gt_loss": 0.01}
    assert "mean |Δ| from fp32 0.0" in str(rows[3]["reason"])
    assert "(bound 0.004)" in str(rows[3]["reason"])
    assert rows[3]["source"] == rows[0]["source"] == "file net.onnx"
    assert rows[4]["source"] == "file int8.onnx, quantized from file net.onnx"
    assert rows[4]["source_sha256"] == hashlib.sha256((tmp_path / "int8.onnx").read_bytes()).hexdigest()
    assert rows[4]["sheet"] == "net_int8_f32.png"
    assert rows[0]["mae"] == 0
    assert 0 < float(str(rows[3]["mae"])) < float(str(rows[4]["mae"])) < 0.02
    assert sum(bool(row["served"]) for row in rows) == 1
    assert (tmp_path / "sheets" / "net_int8_f32.png").is_file()


def test_a_rate_is_compared_with_bf16_where_that_was_measured(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a CPU with bf16 instructions: int8 with the rest in bf16 at 1.5 times bf16's rate."""
    ms = {1: 8.0, 4: 40.0, 8: 80.0}
    found = {way: Speed(ms, 10.0) for way in WAYS if way.runtime == "openvino"}
    found |= {WAYS[1]: Speed({1: 4.0, 4: 16.0, 8: 32.0}, 30.0), WAYS[5]: Speed({1: 2.0}, 45.0)}
    monkeypatch.setattr(certify_module, "speeds", lambda *_: found)
    rows = certified(engine, build_engine(engine, say=lambda line: None), tmp_path)
    assert [row["speedup_vs_bf16"] for row in rows] == [pytest.approx(1 / 3), 1, pytest.approx(1 / 3), None, 1 / 3, 1.5]
    assert [row["rate_2_streams"] for row in rows] == [10, 30, 10, None, 10, 45]
    assert [rows[1][key] for key in ("speedup_vs_fp32", "speedup_b4", "speedup_b8")] == [2, 2.5, 2.5]
    assert [rows[5][key] for key in ("speedup_vs_fp32", "speedup_b4", "speedup_b8")] == [4, None, None]


def test_a_slow_engine_is_timed_one_image_at_a_time_and_gets_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "times", lambda *_: {WAYS[0]: {1: 2001.0}, WAYS[4]: {1: 900.0}})
    monkeypatch.setattr(runs_module, "rates", pytest.fail)
    found = runs_module.speeds({WAYS[0]: Path(), WAYS[4]: Path()}, {}, (1, 4), pytest.fail)
    assert found == {WAYS[0]: Speed({1: 2001.0}, None), WAYS[4]: Speed({1: 900.0}, None)}


def test_the_cpu_is_named_with_the_instructions_that_it_has(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    core = "processor: {}\nmodel name : Some CPU\nflags : fpu {}\n\n"
    for flags, told in (
        ("avx2 avx512f", "Some CPU, 2 cores, avx2, avx512f"),
        ("avx2 avx_vnni", "Some CPU, 2 cores, avx2, avx_vnni"),
        ("amx_int8 avx512f amx_tile", "Some CPU, 2 cores, avx512f, amx_int8"),
        ("sse4_2", "Some CPU, 2 cores, no AVX2"),
    ):
        cpuinfo.write_text(core.format(0, flags) + core.format(1, flags))
        assert certify_module.cpu_name(cpuinfo) == told


def scaled(model: ModelProto) -> None:
    """Every weight of one convolution half as large again."""
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array((values * 1.5).astype(values.dtype), tensor.name))


def moved(model: ModelProto) -> None:
    """The zero point of the first activation somewhere else."""
    node = next(n for n in model.graph.node if n.op_type == "QuantizeLinear")
    name = f"{node.input[2]}_moved"
    tensor = next(t for t in model.graph.initializer if t.name == node.input[2])
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.int8(40), name))
    node.input[2] = name


@pytest.mark.parametrize(("precision", "corrupt"), [("fp16", scaled), ("int8", moved)])
def test_a_corrupt_graph_is_refused(
    engine: Engine, catalogue: Path, tmp_path: Path, precision: str, corrupt: Callable[[ModelProto], None]
) -> None:
    built = build_engine(engine, say=lambda line: None)
    path = built.folder / graph_name(precision)
    model = onnx.load(path)
    corrupt(model)
    onnx.save(model, path)
    graphs = built.manifest.graphs | {precision: hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest = replace(built.manifest, graphs=graphs)
    rows = certified(engine, replace(built, manifest=manifest), tmp_path)
    for row in rows:
        assert row["certified"] is (row["precision"] != precision), row["reason"]
        assert "Misses its bound: " in str(row["reason"]) or row["certified"]
    report = tmp_path / "engines.json"
    report.write_text(json.dumps(rows))
    certificate = bring_certificate(manifest, built.folder, built.report, report)
    with pytest.raises(PrecisionError, match=f"net is not certified in {precision}: Misses its bound"):
        choose(precision, manifest, certificate, {"fp32", "int8"})
    assert choose("auto", manifest, certificate, {"fp32", "int8"}).precision != precision


def test_a_graph_that_gives_no_numbers_is_refused() -> None:
    answers = np.full((3, 1, 512, 512), 0.5, np.float32)
    broken = answers.copy()
    broken[1, 0, 7, 7] = np.nan
    with pytest.raises(ValueError, match="no numbers"):
        losses(cases(), broken, answers, in_band=False)


def test_a_bound_is_missed_by_each_measure_alone(engine: Engine) -> None:
    answers = np.full((3, 1, 512, 512), 0.5, np.float32)
    same = losses(cases(), answers, answers, in_band=False)
    bounds = engine.precision("fp16")
    assert judge(same, bounds)[0]
    for name, value in (("mae", 0.0041), ("gt_band_loss", 0.011), ("gt_iou_loss", 0.011)):
        passed, reason = judge(replace(same, **{name: value}), bounds)
        assert not passed
        assert reason.startswith("Misses its bound: ")
        assert reason.count("bound ") == 1
    bounds = replace(bounds, bytes=0.3)
    assert judge(same, bounds, 0.3)[0]
    assert judge(same, bounds, 0.31) == (False, "Misses its bound: bytes relative to fp32 0.310 (bound 0.3).")


def test_a_graph_that_is_too_large_is_refused(engine: Engine, catalogue: Path, tmp_path: Path) -> None:
    built = build_engine(engine, say=lambda line: None)
    catalogue.write_text(catalogue.read_text().replace("gt_loss = 0.2, ", "gt_loss = 0.2, bytes = 0.01, "))
    (strict,) = Catalogue.load(catalogue).defaults()
    for row in certified(strict, built, tmp_path):
        assert row["certified"] is (row["precision"] != "int8")
        if row["precision"] == "int8":
            assert row["bounds"] == {"mae": 0.02, "gt_loss": 0.2, "bytes": 0.01}
            assert str(row["reason"]).startswith("Misses its bound: bytes relative to fp32 ")


def test_the_distance_of_an_alpha_is_that_in_its_edge_band() -> None:
    fp32 = np.zeros((3, 1, 512, 512), np.float32)
    fp32[:, :, :, 256:] = 1
    other = fp32.copy()
    other[:, :, :, :100] = 0.1  # far from the edge
    assert losses(cases(), other, fp32, in_band=True).mae == 0
    assert losses(cases(), other, fp32, in_band=False).mae == pytest.approx(0.1 * 100 / 512)


def test_a_quantized_file_that_does_not_fit_stops_the_build(catalogue: Path, engine: Engine, tmp_path: Path) -> None:
    model = onnx.load(tmp_path / "int8.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    with pytest.raises(BuildError, match="IMAGE has no open batch axis"):
        build_engine(declare(catalogue, tmp_path / "fixed.onnx"), say=lambda line: None)
    with pytest.raises(BuildError, match="it is not quantized"):
        build_engine(declare(catalogue, tmp_path / "net.onnx"), say=lambda line: None)


def test_a_file_of_scales_is_quantized_when_the_engine_is_built(
    engine: Engine, catalogue: Path, tmp_path: Path
) -> None:
    model = onnx.load(build_engine(engine, say=lambda line: None).folder / "model.onnx")
    ready = with_gains(model)
    plan = quant_plan(ready)
    alone = dict.fromkeys(gained_tensors(ready, plan), 0.02)
    found = Calibration(engine.sources_sha256, "a test", (), alone, dict.fromkeys(plan.scales, 0.02))
    path = tmp_path / "net_int8.json"
    write_calibration(path, found)
    built = build_engine(declare(catalogue, path), say=lambda line: None)
    assert onnx.load(built.folder / graph_name("int8")) == found.quantize(model)
    for wrong, reason in (
        (replace(found, scales=found.scales | {"other": 1.0}), "net_int8.json does not fit net: .* unknown .'other'"),
        (replace(found, weights_sha256="0" * 64), "net_int8.json was made with the weights 000000000000"),
    ):
        write_calibration(path, wrong)
        with pytest.raises(BuildError, match=reason):
            build_engine(declare(catalogue, path), say=lambda line: None)


def test_the_command_writes_the_report_and_keeps_other_engines_rows(
    engine: Engine, catalogue: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    built = build_engine(engine, say=lambda line: None)
    new = {"bounds", "sheet", "speedup_b4", "speedup_b8", "rate_2_streams", "speedup_vs_bf16"}
    other = [
        {key: value for key, value in row.items() if key not in new} | {"engine": "other"}  # of an earlier version
        for row in certified(engine, built, tmp_path)
    ]
    (reports / "engines.json").write_text(json.dumps(other))
    arguments = ["engines", "--catalogue", str(catalogue), "--reports", str(reports), "--sheets", str(tmp_path / "s")]
    assert command_line.main(arguments) == 0
    rows = json.loads((reports / "engines.json").read_text())
    assert [row["engine"] for row in rows] == ["net"] * 6 + ["other"] * 6
    page = (reports / "engines.md").read_text()
    assert "## net" in page
    assert "Bounds: fp32 `fp32_max` 0.001, `fp32_mean` 0.0001; bf16 `mae` 0.01, `gt_loss` 0.01; fp16" in page
    assert "from file net.onnx (`" in page
    assert "; file int8.onnx, quantized from file net.onnx (`" in page
    assert page.count("(`net_int8_f32.png`).") == 1
    for case in cases():
        assert page.count(f"{case.name} 0.") == 2 * 5, "of both engines, in every row but fp32's"
    assert "## other" in page
    assert "net int8 (openvino, int8, the rest fp32): Within every bound" in capsys.readouterr().out
    manifest = EngineManifest.read(built.folder)
    assert manifest.graphs == built.manifest.graphs


def test_a_way_that_cannot_run_fails_its_row(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = build_engine(engine, say=lambda line: None)
    real = certify_module.answers

    def refuse(graph: Path, sha256: str, way: Way, *rest: object) -> object:
        if way.precision == "bf16":
            raise RuntimeError("first line\nno such kernel")
        return real(graph, sha256, way, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(certify_module, "answers", refuse)
    rows = {str(row["precision"]): row for row in certified(engine, built, tmp_path)}
    assert rows["bf16"]["certified"] is False
    assert rows["bf16"]["reason"] == "It does not run: no such kernel."
    assert rows["bf16"]["mae"] is None
    assert rows["fp16"]["certified"] is True
