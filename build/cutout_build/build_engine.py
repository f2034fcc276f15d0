"""One engine of the catalogue into the cache: fetch, prepare, check, derive, write; nothing where it is up to date."""

from __future__ import annotations

import fcntl
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cutout_build import CONVERTER_VERSION
from cutout_build.bring_certificate import bring_certificate
from cutout_build.catalogue import Engine
from cutout_build.fetch import fetch_all
from cutout_build.photos import PHOTOS, photo
from cutout_core.contract.engine import GRAPH_NAME, EngineManifest, graph_name
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import MATTING

if TYPE_CHECKING:
    from onnx import ModelProto

    from cutout_build.check import Comparison
    from cutout_build.prepare import GraphFacts

REPORT_NAME = "check.json"

#: What computes a graph and its check; another version of one of them means another build.
_TOOLS = ("onnx", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class Built:
    """A built engine. `report`: check.json. `fresh`: False where it was there already and nothing was done."""

    folder: Path
    manifest: EngineManifest
    report: dict[str, Any]
    fresh: bool


def build_engine(engine: Engine, *, force: bool = False, say: Callable[[str], None] = print) -> Built:
    """Builds `engine` into `<engines_root>/<model>/{model.onnx, model_fp16.onnx ..., model.json, check.json,
    certificate.json}`.

    Does nothing where the folder holds what this catalogue entry and these tools would write, unless `force`. The
    folder is replaced as a whole. Raises BuildError.
    """
    folder = engines_root() / engine.model
    recipe = _recipe(engine)
    with _lock(engines_root()):
        found = None if force else _up_to_date(folder, recipe)
        if found is not None:
            bring_certificate(found.manifest, found.folder, found.report)
            return found
        published = fetch_all([network.weights for network in engine.networks], say)
        with tempfile.TemporaryDirectory(prefix=f".{engine.model}-", dir=folder.parent) as scratch:
            new = Path(scratch) / "engine"
            new.mkdir()
            manifest, report = _build(engine, published, new, recipe, say)
            if folder.exists():
                folder.rename(Path(scratch) / "old")
            new.rename(folder)
        return Built(folder, manifest, report, fresh=True)


def _build(
    engine: Engine, published: Sequence[Path], folder: Path, recipe: str, say: Callable[[str], None]
) -> tuple[EngineManifest, dict[str, Any]]:
    # Imported here because they take longer than finding out that nothing is to be done.
    from cutout_build.check import check
    from cutout_build.check_photos import network_inputs
    from cutout_build.prepare import facts
    from cutout_build.reference import published_answers
    from cutout_build.variants import write_variants

    say(f"preparing {engine.name} ...")
    model = _served_graph(engine, published)
    graph = folder / GRAPH_NAME
    graph.write_bytes(model.SerializeToString(deterministic=True))
    photos = {entry.name: photo(entry.name, say).read_bytes() for entry in PHOTOS.values() if entry.subject}
    inputs = network_inputs(photos, engine)
    say("computing what the published weights give ...")
    reference = published_answers(engine, published, list(inputs.values()))
    comparisons = check(graph, inputs, reference, engine.check, say)
    manifest = EngineManifest(
        model=engine.model,
        engine=engine.name,
        input_size=engine.recipe.size,
        mean=engine.recipe.mean,
        std=engine.recipe.std,
        divide_by_max=engine.recipe.divide_by_max,
        license=engine.license.spdx,
        source=engine.sources,
        source_sha256=engine.sources_sha256,
        graphs={"fp32": _sha256(graph)} | write_variants(engine, graph, folder, say),
        batch=engine.batch,
    )
    report = _report(engine, recipe, facts(model), comparisons, manifest)
    (folder / REPORT_NAME).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    manifest.write(folder)
    bring_certificate(manifest, folder, report)
    return manifest, report


def _served_graph(engine: Engine, published: Sequence[Path]) -> ModelProto:
    from cutout_build.adopt import adopt
    from cutout_build.fuse import fuse
    from cutout_build.prepare import prepare

    metadata = _metadata(engine)
    if engine.model == MATTING.name:
        return adopt(published[0], engine.opset, metadata)
    parts = [
        (network, prepare(path, network.recipe.size, engine.opset, metadata))
        for network, path in zip(engine.networks, published, strict=True)
    ]
    return parts[0][1] if len(parts) == 1 else fuse(parts, engine.recipe, engine.opset, metadata)


def _report(
    engine: Engine,
    recipe: str,
    graph: GraphFacts,
    comparisons: tuple[Comparison, ...],
    manifest: EngineManifest,
) -> dict[str, Any]:
    return {
        "engine": engine.name,
        "model": engine.model,
        "license": asdict(engine.license),
        "graphs": manifest.graphs,
        "graph": asdict(graph),
        "tools": {name: version(name) for name in _TOOLS},
        "comparisons": [asdict(comparison) for comparison in comparisons],
        "recipe_sha256": recipe,
    }


def _metadata(engine: Engine) -> dict[str, str]:
    return {
        "license": engine.license.spdx,
        "attribution": engine.license.attribution,
        "homepage": engine.license.homepage,
        "source": engine.sources,
        "source_sha256": engine.sources_sha256,
    }


def _recipe(engine: Engine) -> str:
    """SHA-256 (hex) of everything that decides what a build writes, the manifest's keys among it."""
    parts = [str(CONVERTER_VERSION), engine.digest(), *(f"{name}=={version(name)}" for name in _TOOLS)]
    parts += EngineManifest.__dataclass_fields__
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _up_to_date(folder: Path, recipe: str) -> Built | None:
    """What is built, where it is whole and made by `recipe`; else None: then it is built anew, whatever the fault."""
    try:
        manifest = EngineManifest.read(folder)
        report = json.loads((folder / REPORT_NAME).read_text(encoding="utf-8"))
        whole = report["recipe_sha256"] == recipe and all(
            _sha256(folder / graph_name(precision)) == known for precision, known in manifest.graphs.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Built(folder, manifest, report, fresh=False) if whole else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """One build at a time; a second one waits and then finds its work done."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
