"""The catalogue: what is right is read as it stands, every mistake is refused with the reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cutout_build.catalogue import Catalogue
from cutout_build.errors import BuildError
from cutout_build.sources import FileSource, NpmSource, PackageSource, UrlSource
from cutout_core.imaging.normalize import NetworkInput

#: The models that run a network, as the catalogue builds them: the mask of one is the input of the next.
ENGINES_IN_ORDER = ("segmentation", "matting", "segmentation_high")

ENGINE = """
[net]
model = "segmentation"
input_size = 32
mean = [0.5, 0.5, 0.5]
std = [0.25, 0.25, 0.25]
divide_by_max = true
opset = 17
batch = [1, 8, 16]

[net.source]
package = "some-package"
version = "1.0"
member = "some/net.onnx"
sha256 = "{sha256}"

[net.license]
spdx = "Apache-2.0"
attribution = "Someone, 2020"
homepage = "https://example.org"

[net.check]
fp32_max = 1e-3
fp32_mean = 1e-5

[net.precisions]
bf16 = {{ mae = 0.01, gt_loss = 0.01 }}
fp16 = {{ mae = 0.004, gt_loss = 0.01, keep = [] }}
""".format(sha256="0" * 64)


def load(tmp_path: Path, text: str) -> Catalogue:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return Catalogue.load(path)


def test_the_catalogue_that_comes_along_is_right() -> None:
    catalogue = Catalogue.load()
    assert [engine.model for engine in catalogue.defaults()] == ["segmentation", "matting"]
    assert [engine.model for engine in catalogue.defaults(high=True)] == list(ENGINES_IN_ORDER)
    engine = catalogue.engine("u2netp")
    assert engine.license.spdx == "Apache-2.0"
    assert engine.recipe.size == 320
    assert engine.opset >= 17


def test_the_committed_weights_are_those_that_the_catalogue_pins() -> None:
    (engine,) = (engine for engine in Catalogue.load().engines if engine.model == "matting")
    (network,) = engine.networks
    assert isinstance(network.weights.source, FileSource)
    weights = Path(network.weights.source.path)
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == network.weights.sha256
    assert weights.stat().st_size <= 8_000_000


def test_a_matting_engine_takes_pixels_and_has_no_statistics(tmp_path: Path) -> None:
    statistics = "input_size = 32\nmean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\ndivide_by_max = true\n"
    text = ENGINE.replace('"segmentation"', '"matting"')
    (engine,) = load(tmp_path, text.replace(statistics, "")).defaults()
    assert engine.recipe == NetworkInput(512, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False)
    with pytest.raises(BuildError, match="unknown keys: divide_by_max, input_size, mean, std"):
        load(tmp_path, text)


def fused(first: str = "one", second: str = "two", divide_by_max: str = "false") -> str:
    """The table of an engine of two networks."""
    before, source = ENGINE.split("[net.source]")
    recipe = "input_size = 32\nmean = [0.1, 0.2, 0.3]\nstd = [1.0, 1.0, 1.0]\ndivide_by_max = true\n"
    package, after = source.split("[net.license]")
    parts = [
        f'[[net.networks]]\nname = "{name}"\nvote = {vote}\n{recipe}[net.networks.source]{package}'
        for name, vote in ((first, 1.0), (second, 1.5))
    ]
    before = before.replace("divide_by_max = true", f"divide_by_max = {divide_by_max}")
    return f"{before}{''.join(parts)}[net.license]{after}".replace('"segmentation"', '"segmentation_high"')


def test_an_engine_may_fuse_networks_and_an_optional_model_is_built_on_request(tmp_path: Path) -> None:
    catalogue = load(tmp_path, fused())
    assert catalogue.defaults() == ()
    (engine,) = catalogue.defaults(high=True)
    assert [(network.name, network.vote) for network in engine.networks] == [("one", 1.0), ("two", 1.5)]
    assert engine.recipe.size == 32
    assert engine.networks[0].recipe == NetworkInput(32, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), True)
    assert engine.sources == "; ".join(["PyPI some-package==1.0, some/net.onnx"] * 2)
    assert len(engine.sources_sha256) == 64
    with pytest.raises(BuildError, match="two networks of one name"):
        load(tmp_path, fused(second="one"))
    with pytest.raises(BuildError, match="'divide_by_max' is for each of the networks"):
        load(tmp_path, fused(divide_by_max="true"))


def test_one_engine_of_a_model_is_its_default(tmp_path: Path) -> None:
    catalogue = load(tmp_path, ENGINE)
    (engine,) = catalogue.defaults()
    assert engine.name == "net"
    assert [network.weights.source for network in engine.networks] == [
        PackageSource("some-package", "1.0", "some/net.onnx")
    ]
    assert engine.recipe.std == (0.25, 0.25, 0.25)


def test_the_digest_changes_with_every_value(tmp_path: Path) -> None:
    (one,), (same,) = load(tmp_path, ENGINE).engines, load(tmp_path, ENGINE).engines
    (other,) = load(tmp_path, ENGINE.replace("mae = 0.004", "mae = 0.005")).engines
    assert one.digest() == same.digest() != other.digest()


def test_of_two_engines_the_marked_one_is_the_default(tmp_path: Path) -> None:
    second = ENGINE.replace("[net", "[other").replace(
        'model = "segmentation"', 'model = "segmentation"\ndefault = true'
    )
    catalogue = load(tmp_path, ENGINE + second)
    assert [engine.name for engine in catalogue.defaults()] == ["other"]


def test_urls_and_files_are_sources_too(tmp_path: Path) -> None:
    package = 'package = "some-package"\nversion = "1.0"\nmember = "some/net.onnx"\n'
    (engine,) = load(tmp_path, ENGINE.replace(package, 'url = "https://example.org/net.onnx"\n')).engines
    assert engine.networks[0].weights.source == UrlSource("https://example.org/net.onnx")
    (engine,) = load(tmp_path, ENGINE.replace(package, 'file = "nets/net.onnx"\n')).engines
    assert engine.networks[0].weights.source == FileSource(str(tmp_path / "nets/net.onnx"))
    assert engine.sources == "file net.onnx"
    npm = 'npm = "@some/package"\nversion = "1.0"\nresource = "/models/net"\n'
    (engine,) = load(tmp_path, ENGINE.replace(package, npm)).engines
    assert engine.networks[0].weights.source == NpmSource("@some/package", "1.0", "/models/net")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('spdx = "Apache-2.0"\n', "", r"\[net\.license\] has no 'spdx'"),
        ('attribution = "Someone, 2020"', 'attribution = " "', "not a text with something in it"),
        ("0" * 64, "0" * 63, r"not 64 lower-case hex digits \(63 characters\)"),
        ("0" * 64, "A" * 64, "not 64 lower-case hex digits"),
        ("opset = 17", "opset = 16", "whole number from 17"),
        ("opset = 17", "opset = 17\ncolour = 1", "unknown keys: colour"),
        ("fp32_max = 1e-3", "fp32_max = 1e-3\nint8 = 1", r"\[net\.check\] has unknown keys: int8"),
        ('version = "1.0"\n', "", "either 'package', 'version' and 'member', or 'npm'"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5]", "three numbers"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5, 128]", r"128, outside 0\.0\.\.1\.0"),
        ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5, nan]", "not a number"),
        ("divide_by_max = true", 'divide_by_max = "yes"', "neither true nor false"),
        ("input_size = 32", "input_size = true", "not a whole number"),
        ("batch = [1, 8, 16]", "batch = [1, 16]", "not a list of three whole numbers"),
        (
            "batch = [1, 8, 16]",
            "batch = [2, 8, 16]",
            r"it rises from 1 to 16, because a plan gets every",
        ),
        ("batch = [1, 8, 16]", "batch = [1, 8, 12]", "it rises from 1 to 16"),
        ("batch = [1, 8, 16]", "batch = [1, 20, 16]", "it rises from 1 to 16"),
        ("keep = []", "keep = [], bytes = 2", r"'bytes' is 2, outside 0\.0\.\.1\.0"),
        ('model = "segmentation"', 'model = "postprocess"', "the models that run a network are segmentation"),
        (ENGINE, ENGINE + ENGINE.replace("[net", "[other"), "net, other all serve 'segmentation', and 0 of them"),
        (ENGINE, "net = 3", r"\[net\] is not a table"),
        (ENGINE, "", "names no engine"),
        (ENGINE, "[net", "is not TOML"),
    ],
)
def test_mistakes_are_refused_with_the_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    assert old in ENGINE
    with pytest.raises(BuildError, match=reason):
        load(tmp_path, ENGINE.replace(old, new, 1))


def test_an_engine_or_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no engine 'unet' in the catalogue; known are net"):
        load(tmp_path, ENGINE).engine("unet")
    with pytest.raises(BuildError, match="cannot be read"):
        Catalogue.load(tmp_path / "absent.toml")
