"""An INT8 graph as a file of its scales: what calibration found, from which the graph in fp32 is quantized anywhere.

A network that was only calibrated keeps its weights, and those are downloaded already; its INT8 graph would be as large
as its weights and say little more than a few hundred numbers. `quantize --out NAME.json` writes these, the catalogue
names the file, and building the engine makes the graph, without PyTorch.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from onnx import ModelProto

from cutout_build.errors import BuildError
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.layers import outputs_of
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.unit_scale import equalized, gained_tensors
from cutout_build.quantize.write import int8_graph

#: How the file's name ends.
SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What quantizing a graph without training it takes beside the graph.

    weights_sha256: of the published weights that it was made with. settings: in words. keep: names of the convolutions
    that stay in float. alone: `unit_scale.equalized`'s scales. scales: those of the plan.
    """

    weights_sha256: str
    settings: str
    keep: tuple[str, ...]
    alone: dict[str, float]
    scales: dict[str, float]

    def quantize(self, model: ModelProto) -> ModelProto:
        """The Q/DQ graph of `model`. Raises ValueError where its tensors are not those that have a scale here."""
        keep = outputs_of(model, self.keep)
        ready = with_gains(model, keep)
        plan = quant_plan(ready, keep)
        _same("scales", self.scales, plan.scales)
        _same("scales alone", self.alone, gained_tensors(ready, plan))
        return int8_graph(equalized(ready, plan, self.alone), plan, self.scales)


def write_calibration(path: Path, found: Calibration) -> None:
    path.write_text(json.dumps(asdict(found), indent=1) + "\n", encoding="utf-8")


def read_calibration(path: Path, weights_sha256: str) -> Calibration:
    """Raises BuildError for another file, and for one that was made with other weights than those."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        found = Calibration(**entries | {"keep": tuple(entries["keep"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BuildError(f"{path.name} holds no scales as `quantize` writes them: {error}.") from error
    if found.weights_sha256 != weights_sha256:
        raise BuildError(
            f"{path.name} was made with the weights {found.weights_sha256[:12]}; these are {weights_sha256[:12]}."
        )
    return found


def _same(what: str, given: dict[str, float], due: list[str]) -> None:
    missing, unknown = sorted(set(due) - given.keys()), sorted(given.keys() - set(due))
    if missing or unknown:
        raise ValueError(f"the file's {what} are not the graph's: missing {missing[:3]}, unknown {unknown[:3]}")
