"""What each graph of an engine was measured to be worth, and the choice of the precision that is served.

A row of the certificate belongs to the bytes of one graph (its SHA-256), run by one runtime in one arithmetic: another
file or another arithmetic has none. `cutout_build` writes `certificate.json` beside each
engine; the launcher chooses by it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cutout_core.contract.engine import EngineManifest

CERTIFICATE_NAME = "certificate.json"

#: What can be asked for, in the order in which they are tried where their speeds are not known.
PRECISIONS = ("int8", "bf16", "fp16", "fp32")

#: The runtime of the embedded default.
CPU_RUNTIME = "openvino"

#: OpenVINO's hint to the CPU capability that runs it at speed; and a precision's hints, the first that there is.
HINT_NEEDS = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
HINTS = {"fp32": ("f32",), "bf16": ("bf16",), "fp16": ("f16", "f32"), "int8": ("bf16", "f32")}

#: Speed relative to fp32 below which a precision gains nothing that timing noise could not give.
WORTHWHILE = 1.05


#: What OpenVINO does with a precision that the CPU has no instructions for.
_WITHOUT_INSTRUCTIONS = {"bf16": "it is emulated, slower than fp32", "int8": "sums of its products overflow"}


class PrecisionError(ValueError):
    """A precision that cannot be served; the message says why and what can."""


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """One graph in one arithmetic.

    runtime: "openvino" or "onnxruntime". hint: OpenVINO's inference precision, empty for another runtime.
    certified: whether every bound of the catalogue holds; `reason` is one sentence. mae: mean |Δ| from fp32 of the
    mask, or of the alpha in the edge band. speedup_vs_fp32: None where it was not timed.
    """

    engine: str
    precision: str
    runtime: str
    arithmetic: str
    hint: str
    graph_sha256: str
    certified: bool
    mae: float | None
    speedup_vs_fp32: float | None
    reason: str

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> CertificateRow:
        """The row's own keys; the report has more. Raises ValueError where one is missing."""
        try:
            found = cls(**{name: row[name] for name in cls.__dataclass_fields__})
        except KeyError as error:
            raise ValueError(f"a certificate's row has no {error}") from error
        if not isinstance(found.certified, bool):
            raise ValueError("a certificate's row does not say true or false for 'certified'")
        return found


@dataclass(frozen=True, slots=True)
class Choice:
    """What is served: a precision, the hint that OpenVINO gets, and its certificate, None where there is none."""

    precision: str
    hint: str
    row: CertificateRow | None

    @property
    def certified(self) -> bool:
        """Whether it may be served without a warning."""
        return self.row is not None and self.row.certified


def write_certificate(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes `certificate.json`: a list of rows, which may have more keys than are read."""
    (folder / CERTIFICATE_NAME).write_text(json.dumps(list(rows), indent=1, ensure_ascii=False) + "\n", "utf-8")


def read_certificate(folder: Path) -> tuple[CertificateRow, ...]:
    """The rows of `certificate.json`; none where there is no file. Raises ValueError where it is damaged."""
    path = folder / CERTIFICATE_NAME
    try:
        rows = json.loads(path.read_text("utf-8"))
        return tuple(CertificateRow.from_json(row) for row in rows)
    except FileNotFoundError:
        return ()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a certificate: {error}") from error


def choose(
    wanted: str,
    manifest: EngineManifest,
    rows: Sequence[CertificateRow],
    native: Collection[str],
    *,
    force: bool = False,
) -> Choice:
    """The precision to serve on a CPU that runs `native` ("fp32", "bf16", "fp16", "int8") at speed.

    `auto` is the fastest that is certified: by measured speed where all candidates have one, else by the order of
    PRECISIONS, and nothing that was measured to gain nothing over fp32. force: what is named needs no
    certificate and no instructions of the CPU, without which no certificate counts. Raises PrecisionError.
    """
    if wanted == "auto":
        options = [o for p in PRECISIONS if (o := _option(p, manifest, rows, native)) is not None and o.certified]
        if not options:
            raise PrecisionError(f"Engine {manifest.engine} has no certified precision: run `make models` again.")
        return _fastest(options)
    if wanted not in manifest.graphs:
        raise PrecisionError(
            f"Engine {manifest.engine} is not built in {wanted}: set CUTOUT_PRECISION to auto or one of: "
            f"{', '.join(manifest.graphs)}."
        )
    option = _option(wanted, manifest, rows, native)
    if option is None and force:
        option = _without_instructions(wanted, manifest, rows, native)
    if option is None:
        raise PrecisionError(
            f"This CPU has no instructions for {wanted}: {_WITHOUT_INSTRUCTIONS[wanted]}. Set CUTOUT_PRECISION to "
            "auto, or CUTOUT_PRECISION_FORCE to 1 to serve it with a warning in every response."
        )
    if not option.certified and not force:
        why = option.row.reason if option.row is not None else "its graph is in no certificate; run `make engines`."
        raise PrecisionError(
            f"Engine {manifest.engine} is not certified in {wanted}: {why} Set CUTOUT_PRECISION to auto, or "
            "CUTOUT_PRECISION_FORCE to 1 to serve it with a warning in every response."
        )
    return option


def _option(
    precision: str, manifest: EngineManifest, rows: Sequence[CertificateRow], native: Collection[str]
) -> Choice | None:
    """The precision by its best arithmetic that this CPU has: a certified one, else one that was judged.

    None where the CPU has none.
    """
    if precision not in manifest.graphs or (precision == "int8" and "int8" not in native):
        return None
    found = [
        Choice(precision, hint, _row(precision, hint, manifest.graphs[precision], rows))
        for hint in HINTS[precision]
        if HINT_NEEDS[hint] in native
    ]
    return min(found, key=lambda option: (not option.certified, option.row is None), default=None)


def _without_instructions(
    precision: str, manifest: EngineManifest, rows: Sequence[CertificateRow], native: Collection[str]
) -> Choice | None:
    """The precision on a CPU that is not made for it. Whatever was measured on others, here it is not certified."""
    option = _option(precision, manifest, rows, {*native, precision})
    if option is None or option.row is None:
        return option
    reason = f"This CPU has no instructions for it: {_WITHOUT_INSTRUCTIONS[precision]}. On others: {option.row.reason}"
    return replace(option, row=replace(option.row, certified=False, reason=reason))


def _row(precision: str, hint: str, graph_sha256: str, rows: Sequence[CertificateRow]) -> CertificateRow | None:
    key = (precision, CPU_RUNTIME, hint, graph_sha256)
    return next((row for row in rows if (row.precision, row.runtime, row.hint, row.graph_sha256) == key), None)


def _fastest(options: Sequence[Choice]) -> Choice:
    speeds = {option.precision: option.row.speedup_vs_fp32 for option in options if option.row is not None}
    worth = [o for o in options if o.precision == "fp32" or (speeds[o.precision] or WORTHWHILE) >= WORTHWHILE]
    if worth and all(speeds[option.precision] is not None for option in worth):
        return max(worth, key=lambda option: speeds[option.precision] or 0.0)
    return worth[0] if worth else options[0]
