"""The catalogue of engines (`models.toml`) as checked, frozen objects.

Every mistake is refused with the table, the key and the reason; nothing is ignored and nothing has a silent default.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tomllib

from cutout_build.errors import BuildError
from cutout_build.sources import Artifact, FileSource, NpmSource, PackageSource, Source, UrlSource
from cutout_build.toml_table import Mistake, Table
from cutout_core.contract import MAX_BATCH_SIZE
from cutout_core.contract.tensors import ALPHA_SIZE, ENGINES, MATTING, OPTIONAL_MODELS
from cutout_core.imaging.normalize import NetworkInput

CATALOGUE_NAME = "models.toml"

#: Oldest ONNX opset that a prepared graph may have.
MIN_OPSET = 17

#: The matting network takes 8-bit pixels: nothing is left to do outside its graph.
_PIXELS = NetworkInput(ALPHA_SIZE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False)

_SOURCE_KINDS = {
    frozenset({"package", "version", "member"}): PackageSource,
    frozenset({"npm", "version", "resource"}): NpmSource,
    frozenset({"url"}): UrlSource,
    frozenset({"file"}): FileSource,
}


@dataclass(frozen=True, slots=True)
class License:
    """`spdx`: the weights' licence as an SPDX identifier. `attribution`: author, title, year. `homepage`: origin."""

    spdx: str
    attribution: str
    homepage: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the build's check must show: largest and mean |Δ| of the mask or alpha (0..1) of any photo, prepared
    against published graph, in fp32.
    """

    fp32_max: float
    fp32_mean: float


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision beside fp32, and what its certificate must show.

    mae: largest allowed mean |Δ| from fp32, of the mask, or of the alpha in the edge band. gt_loss: largest allowed
    relative loss of band error and of intersection over union against ground truth. bytes: largest allowed size of the
    graph's file relative to fp32's, None for any. keep: nodes, or kinds of them, that the graph in fp16 leaves in fp32.
    graph: the file of the quantized graph ("int8"), None for the others.
    """

    name: str
    mae: float
    gt_loss: float
    bytes: float | None = None
    keep: tuple[str, ...] = ()
    graph: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """One published network. recipe: how it wants its input. vote: its weight where an engine fuses several."""

    name: str
    recipe: NetworkInput
    weights: Artifact
    vote: float = 1.0


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine of the catalogue, made from one network or several.

    model: the repository's model that it serves. default: whether it is the one built where several serve `model`.
    recipe: how its input is made. networks: what it is made from; of a single one the recipe is the engine's. opset: of
    the prepared graph. precisions: those beside fp32. batch: rows of a compiled plan: fewest, tuned for, most.
    """

    name: str
    model: str
    default: bool
    recipe: NetworkInput
    opset: int
    networks: tuple[Network, ...]
    license: License
    check: Bounds
    precisions: tuple[Precision, ...]
    batch: tuple[int, int, int]

    def precision(self, name: str) -> Precision:
        """The entry of a precision beside fp32. Raises BuildError where the catalogue has none."""
        for precision in self.precisions:
            if precision.name == name:
                return precision
        raise BuildError(f"The catalogue gives {self.name!r} no precision {name!r}.")

    @property
    def sources(self) -> str:
        """Where the weights come from, in words."""
        return "; ".join(str(network.weights.source) for network in self.networks)

    @property
    def sources_sha256(self) -> str:
        """SHA-256 (hex) of the weights' file, or, of several, of their hashes joined."""
        hashes = [network.weights.sha256 for network in self.networks]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()

    def digest(self) -> str:
        """SHA-256 (hex) of everything the catalogue says about this engine."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All engines, in the file's order."""

    engines: tuple[Engine, ...]

    def engine(self, name: str) -> Engine:
        """The engine called `name`. Raises BuildError naming those that exist."""
        for engine in self.engines:
            if engine.name == name:
                return engine
        known = ", ".join(engine.name for engine in self.engines)
        raise BuildError(f"There is no engine {name!r} in the catalogue; known are {known}.")

    def defaults(self, *, high: bool = False) -> tuple[Engine, ...]:
        """The engine of each model that a plain build makes; with `high`, of the optional models too."""
        return tuple(
            engine for engine in self.engines if engine.default and (high or engine.model not in OPTIONAL_MODELS)
        )

    def default(self, model: str) -> Engine:
        """The engine of `model`, an optional one too, that a build makes."""
        (engine,) = (engine for engine in self.defaults(high=True) if engine.model == model)
        return engine

    @classmethod
    def load(cls, path: Path | None = None) -> Catalogue:
        """Reads and checks a catalogue; without `path`, the one that came with this package. Raises BuildError."""
        path = path or catalogue_path()
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BuildError(f"The catalogue {path} cannot be read: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BuildError(f"The catalogue {path} is not TOML: {error}.") from error
        try:
            return cls(_with_defaults([_engine(name, table, path.parent) for name, table in tables.items()]))
        except Mistake as mistake:
            raise BuildError(f"The catalogue {path} is wrong: {mistake}.") from mistake


def catalogue_path() -> Path:
    """The catalogue of the installed wheel, or `build/models.toml` of a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / CATALOGUE_NAME
    return installed if installed.exists() else package.parent / CATALOGUE_NAME


def _engine(name: str, values: object, folder: Path) -> Engine:
    table = Table(name, values)
    model = table.text("model")
    if model not in ENGINES:
        raise Mistake(f"[{name}] 'model' is {model!r}; the models that run a network are {', '.join(ENGINES)}")
    licence, check = table.table("license"), table.table("check")
    recipe = _PIXELS if model == MATTING.name else _recipe(table)
    engine = Engine(
        name=name,
        model=model,
        default=table.flag("default", default=False),
        recipe=recipe,
        opset=table.whole("opset", MIN_OPSET, 21),
        networks=_networks(table, name, recipe, folder),
        license=License(licence.text("spdx"), licence.text("attribution"), licence.text("homepage")),
        check=Bounds(
            fp32_max=check.number("fp32_max", 0.0, 1.0),
            fp32_mean=check.number("fp32_mean", 0.0, 1.0),
        ),
        precisions=_precisions(table, folder),
        batch=_batch(table),
    )
    for part in (table, licence, check):
        part.done()
    return engine


def _precisions(table: Table, folder: Path) -> tuple[Precision, ...]:
    """The sub-tables of `precisions`; an engine without one has fp32 alone."""
    if "precisions" not in table.values:
        return ()
    part = table.table("precisions")
    found: list[Precision] = []
    for name in list(part.values):
        if name not in ("bf16", "fp16", "int8"):
            raise Mistake(f"[{part.name}] has {name!r}; beside fp32 there are bf16, fp16 and int8")
        entry = part.table(name)
        mae, gt_loss = entry.number("mae", 0.0, 1.0), entry.number("gt_loss", 0.0, 1.0)
        size = entry.number("bytes", 0.0, 1.0) if "bytes" in entry.values else None
        keep = entry.names("keep") if name == "fp16" else ()
        graph = _weights(entry.table("source"), folder) if name == "int8" else None
        entry.done()
        found.append(Precision(name, mae, gt_loss, size, keep, graph))
    return tuple(found)


def _batch(table: Table) -> tuple[int, int, int]:
    values = table.take("batch")
    if not isinstance(values, list) or len(values) != 3 or not all(type(v) is int for v in values):
        raise Mistake(f"[{table.name}] 'batch' is not a list of three whole numbers (fewest, tuned for, most)")
    fewest, best, most = values
    if (fewest, most) != (1, MAX_BATCH_SIZE) or not fewest <= best <= most:
        raise Mistake(
            f"[{table.name}] 'batch' is {values}; it rises from 1 to {MAX_BATCH_SIZE}, because a plan gets every "
            "number of rows between"
        )
    return fewest, best, most


def _recipe(table: Table) -> NetworkInput:
    return NetworkInput(
        size=table.whole("input_size", 32, 4096),
        mean=table.triple("mean", 0.0, 1.0),
        std=table.triple("std", 0.001, 10.0),
        divide_by_max=table.flag("divide_by_max"),
    )


def _networks(table: Table, name: str, recipe: NetworkInput, folder: Path) -> tuple[Network, ...]:
    """The engine's one network by its `source`, or several by `networks`."""
    if "networks" not in table.values:
        return (Network(name, recipe, _weights(table.table("source"), folder)),)
    networks: list[Network] = []
    for part in table.tables("networks"):
        weights = _weights(part.table("source"), folder)
        networks.append(Network(part.text("name"), _recipe(part), weights, part.number("vote", 0.01, 100.0)))
        part.done()
    if len({network.name for network in networks}) < len(networks):
        raise Mistake(f"[{name}] has two networks of one name")
    if recipe.divide_by_max:
        raise Mistake(f"[{name}] 'divide_by_max' is for each of the networks, not for their common input")
    return tuple(networks)


def _weights(table: Table, folder: Path) -> Artifact:
    sha256 = table.text("sha256")
    kind = _SOURCE_KINDS.get(frozenset(table.values))
    if kind is None:
        raise Mistake(
            f"[{table.name}] has the keys {', '.join(sorted(table.values)) or 'none'} beside 'sha256'; it takes "
            "either 'package', 'version' and 'member', or 'npm', 'version' and 'resource', or 'url', or 'file'"
        )
    source: Source
    if kind is PackageSource:
        source = PackageSource(table.text("package"), table.text("version"), table.text("member"))
    elif kind is NpmSource:
        source = NpmSource(table.text("npm"), table.text("version"), table.text("resource"))
    elif kind is UrlSource:
        source = UrlSource(table.text("url"))
    else:
        source = FileSource(str(folder / Path(table.text("file")).expanduser()))
    try:
        return Artifact(source, sha256)
    except ValueError as error:
        raise Mistake(f"[{table.name}] {error}") from error


def _with_defaults(engines: list[Engine]) -> tuple[Engine, ...]:
    """An engine that serves its model alone is its default; where several do, the file must say which one is."""
    if not engines:
        raise Mistake("it names no engine")
    settled: list[Engine] = []
    for engine in engines:
        rivals = [other for other in engines if other.model == engine.model]
        chosen = [other.name for other in rivals if other.default]
        if len(rivals) > 1 and len(chosen) != 1:
            names = ", ".join(other.name for other in rivals)
            raise Mistake(
                f"{names} all serve {engine.model!r}, and {len(chosen)} of them say 'default = true' instead of one"
            )
        settled.append(engine if chosen else replace(engine, default=True))
    return tuple(settled)
