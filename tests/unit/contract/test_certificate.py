"""Choosing a precision by its certificate."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cutout_core.contract.certificate import CertificateRow, PrecisionError, choose, read_certificate, write_certificate
from cutout_core.contract.engine import EngineManifest

GRAPHS = {"fp32": "a" * 64, "bf16": "a" * 64, "fp16": "b" * 64, "int8": "c" * 64}
MANIFEST = EngineManifest(
    "segmentation", "net", 320, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False, "MIT", "test", "0" * 64, GRAPHS
)
PLAIN, MODERN = {"fp32", "int8"}, {"fp32", "bf16", "int8"}


def row(precision: str, hint: str = "f32", certified: bool = True, speed: float | None = None) -> CertificateRow:
    return CertificateRow(
        "net", precision, "openvino", "test", hint, GRAPHS[precision], certified, 0.001, speed, f"About {precision}."
    )


FP32 = row("fp32", speed=1.0)


@pytest.mark.parametrize(
    ("rows", "native", "expected"),
    [
        ([], PLAIN, None),
        ([FP32], PLAIN, ("fp32", "f32")),
        ([FP32, row("bf16", "bf16")], PLAIN, ("fp32", "f32")),
        ([FP32, row("bf16", "bf16")], MODERN, ("bf16", "bf16")),
        ([FP32, row("bf16", "bf16", certified=False)], MODERN, ("fp32", "f32")),
        ([FP32, row("fp16", speed=1.0)], PLAIN, ("fp32", "f32")),
        ([FP32, row("fp16", speed=1.2)], PLAIN, ("fp16", "f32")),
        ([FP32, row("int8", speed=2.0)], PLAIN, ("int8", "f32")),
        ([FP32, row("int8", speed=0.7)], PLAIN, ("fp32", "f32")),
        ([FP32, row("int8", speed=2.0)], {"fp32"}, ("fp32", "f32")),
        ([FP32, row("int8", speed=2.0, certified=False)], PLAIN, ("fp32", "f32")),
        ([FP32, row("int8", speed=2.0), row("bf16", "bf16", speed=4.0)], MODERN, ("bf16", "bf16")),
        ([FP32, row("int8", "bf16"), row("bf16", "bf16")], MODERN, ("int8", "bf16")),
        ([FP32, row("int8", "bf16", certified=False), row("int8", speed=1.5)], MODERN, ("int8", "f32")),
    ],
)
def test_auto_is_the_fastest_certified_one_that_the_cpu_has(
    rows: list[CertificateRow], native: set[str], expected: tuple[str, str] | None
) -> None:
    if expected is None:
        with pytest.raises(PrecisionError, match="no certified precision"):
            choose("auto", MANIFEST, rows, native)
        return
    choice = choose("auto", MANIFEST, rows, native)
    assert (choice.precision, choice.hint) == expected
    assert choice.certified


def test_a_certificate_speaks_of_one_graph_one_runtime_and_one_arithmetic() -> None:
    for other in (
        replace(row("int8", speed=2.0), graph_sha256="d" * 64),
        replace(row("int8", speed=2.0), runtime="onnxruntime"),
        row("int8", "bf16", speed=2.0),
    ):
        assert choose("auto", MANIFEST, [FP32, other], PLAIN).precision == "fp32"
        with pytest.raises(PrecisionError, match="not certified in int8: its graph is in no certificate"):
            choose("int8", MANIFEST, [FP32, other], PLAIN)


def test_what_fails_is_refused_with_its_reason_and_served_only_by_force() -> None:
    rows = [FP32, row("int8", certified=False, speed=2.0)]
    with pytest.raises(PrecisionError, match=r"About int8\. Set CUTOUT_PRECISION to auto, or CUTOUT_PRECISION_FORCE"):
        choose("int8", MANIFEST, rows, PLAIN)
    forced = choose("int8", MANIFEST, rows, PLAIN, force=True)
    assert (forced.precision, forced.certified, forced.row) == ("int8", False, rows[1])
    assert choose("fp32", MANIFEST, rows, PLAIN, force=True).certified


def test_the_reason_is_that_of_the_arithmetic_that_was_judged() -> None:
    failed = row("fp16", "f32", certified=False)
    with pytest.raises(PrecisionError, match="is not certified in fp16: About fp16"):
        choose("fp16", MANIFEST, [FP32, failed], {"fp32", "fp16"})
    assert choose("fp16", MANIFEST, [FP32, failed], {"fp32", "fp16"}, force=True).hint == "f32"


def test_force_makes_no_graph() -> None:
    without = replace(MANIFEST, graphs={"fp32": "a" * 64})
    with pytest.raises(PrecisionError, match="is not built in int8: set CUTOUT_PRECISION to auto or one of: fp32"):
        choose("int8", without, [FP32], PLAIN, force=True)


@pytest.mark.parametrize(("precision", "hint", "what"), [("bf16", "bf16", "emulated"), ("int8", "f32", "overflow")])
def test_without_instructions_a_precision_is_served_by_force_alone_and_not_as_certified(
    precision: str, hint: str, what: str
) -> None:
    rows = [FP32, row(precision, hint)]
    with pytest.raises(PrecisionError, match=f"no instructions for {precision}: .*{what}.*PRECISION_FORCE to 1"):
        choose(precision, MANIFEST, rows, {"fp32"})
    forced = choose(precision, MANIFEST, rows, {"fp32"}, force=True)
    assert (forced.precision, forced.hint, forced.certified) == (precision, hint, False)
    assert forced.row is not None
    assert f"About {precision}." in forced.row.reason
    assert choose(precision, MANIFEST, [FP32], {"fp32"}, force=True).row is None


def test_a_certificate_is_read_as_it_was_written_and_may_say_more(tmp_path: Path) -> None:
    assert read_certificate(tmp_path) == ()
    write_certificate(tmp_path, [asdict(FP32) | {"gmac": 19.8}])
    assert read_certificate(tmp_path) == (FP32,)


@pytest.mark.parametrize("change", [{"certified": "yes"}, {"reason": None}])
def test_a_damaged_certificate_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    damaged = asdict(FP32) | change
    write_certificate(tmp_path, [{key: value for key, value in damaged.items() if value is not None}])
    with pytest.raises(ValueError, match="is not a certificate"):
        read_certificate(tmp_path)
