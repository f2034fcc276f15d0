"""The compiled kernels do what the functions in Python do, and nothing at all where they cannot be trusted."""

from __future__ import annotations

import importlib.util
import logging
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from cutout_core.imaging import native
from cutout_core.imaging.decontaminate import decontaminate
from cutout_core.imaging.refine import refine_alpha
from tests.compiler import needs_compiler

from .images import Array, smooth
from .subjects import SHAPES, Subject, hairy_subject

pytestmark = needs_compiler

CORE = Path(__file__).parents[3] / "core"


@pytest.fixture
def kernels() -> native.Kernels:
    assert native.KERNELS is not None, "`make setup` compiles them"
    return native.KERNELS


def unpacked(packed: bytes, checksum: int) -> Array:
    """The filtered rows in deflate blocks, their checksum compared."""
    stream = zlib.decompressobj(-15)
    raw = stream.decompress(packed)
    assert not stream.eof
    assert zlib.adler32(raw) == checksum
    return np.frombuffer(raw, np.uint8)


def unfiltered(rows: Array, above: Array | None, channels: int) -> Array:
    """Rows of filter type 4 (PNG Specification, section 9.4) to samples; above: the row before them."""
    assert (rows[:, 0] == 4).all()
    image = np.zeros((1 + len(rows), rows.shape[1] - 1 + channels), int)
    if above is not None:
        image[0, channels:] = above.reshape(-1)
    for y, row in enumerate(rows[:, 1:], 1):
        for x, value in enumerate(row, channels):
            left, up, corner = image[y, x - channels], image[y - 1, x], image[y - 1, x - channels]
            estimate = left + up - corner
            nearest = min((left, up, corner), key=lambda sample: abs(estimate - sample))
            image[y, x] = (value + nearest) % 256
    return image[1:, channels:].astype(np.uint8)


def rgba_images() -> st.SearchStrategy[Array]:
    """Noise, few levels, and cut-outs with empty parts."""
    shapes = st.tuples(st.integers(1, 12), st.integers(1, 40), st.just(4))
    levels = st.sampled_from([st.integers(0, 255), st.sampled_from([0, 255]), st.sampled_from([0] * 9 + [7])])
    return shapes.flatmap(lambda shape: levels.flatmap(lambda e: hnp.arrays(np.uint8, shape, elements=e)))


@settings(max_examples=60, deadline=None)
@given(rgba=rgba_images(), with_alpha=st.booleans(), cut=st.integers(0, 11))
def test_packed_rows_are_the_image(rgba: Array, with_alpha: bool, cut: int) -> None:
    assert native.KERNELS is not None
    color, alpha = np.ascontiguousarray(rgba[..., :3]), np.ascontiguousarray(rgba[..., 3]) if with_alpha else None
    image = rgba if with_alpha else color
    top = min(cut, len(rgba) - 1)
    raw = unpacked(*native.KERNELS.pack_rows(color, alpha, top, len(rgba)))
    rows = raw.reshape(len(rgba) - top, -1)
    above = image[top - 1] if top else None
    assert np.array_equal(unfiltered(rows, above, image.shape[2]).reshape(image[top:].shape), image[top:])


@pytest.mark.parametrize("zeros", [1, 2, 3, 64, 65, 66, 67, 86, 87, 88, 129, 130, 131, 5000])
def test_runs_of_zeros_of_every_length(zeros: int, kernels: native.Kernels) -> None:
    """Around 3 and 258 bytes, the shortest and the longest match."""
    color = np.zeros((3, 2 * zeros + 5, 3), np.uint8)
    color[1, zeros : zeros + 5] = 77
    alpha = color[..., 0].copy()
    for behind in (None, alpha):
        raw = unpacked(*kernels.pack_rows(color, behind, 0, 3)).reshape(3, -1)
        channels = 3 if behind is None else 4
        expected = color if behind is None else np.dstack((color, alpha))
        assert np.array_equal(unfiltered(raw, None, channels).reshape(expected.shape), expected)


def test_rows_unlike_the_sampled_ones_are_packed_too(kernels: native.Kernels) -> None:
    """The Huffman code is made from every 20th row here; all that it has seen is empty. Two bytes for one is the bound
    that the room for the result goes by."""
    color = np.random.default_rng(0).integers(0, 256, (480, 60, 3), np.uint8)
    color[::20] = 0
    color[19::20] = 0
    packed, checksum = kernels.pack_rows(color, None, 0, 480)
    rows = unpacked(packed, checksum).reshape(480, -1)
    assert len(packed) < 2 * rows.size
    assert np.array_equal(unfiltered(rows, None, 3).reshape(color.shape), color)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("softness", [0.0, 6.0])
def test_a_refined_alpha_is_pythons_within_a_few_levels(
    coarse: bool, softness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They differ where OpenCV looks the models up on a raster of 1/32 of a cell."""
    subject = hairy_subject(softness=softness)
    alpha = subject.grid_alpha()
    compiled = refine_alpha(subject.rgb, alpha, coarse)
    monkeypatch.setattr(native, "KERNELS", None)
    slow = refine_alpha(subject.rgb, alpha, coarse)
    difference = np.abs(compiled.astype(int) - slow)
    assert difference.max() <= 12
    assert difference[subject.band()].mean() <= 0.2
    assert _error(compiled, subject) <= _error(slow, subject) + 0.01


def _error(alpha: Array, subject: Subject) -> float:
    return float(np.abs(alpha.astype(float) - subject.alpha)[subject.band()].mean())


@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_is_refined_as_by_python(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = smooth(shape[1], shape[0])
    rows, columns = np.indices((512, 512))
    alpha = np.clip((rows + columns - 400) / 300, 0, 1).astype(np.float32)
    refined = refine_alpha(rgb, alpha)
    colors = decontaminate(rgb, refined).astype(int)
    monkeypatch.setattr(native, "KERNELS", None)
    slow = refine_alpha(rgb, alpha)
    assert np.abs(slow.astype(int) - refined).max() <= 4
    assert np.abs(decontaminate(rgb, refined) - colors).max() <= 4
    # and one after the other; where an alpha is 0 there is no colour, and 0 and 1 are within the bound
    shown = (refined > 0) & (slow > 0)
    assert np.abs(decontaminate(rgb, slow) - colors)[shown].max() <= 4


def test_the_subjects_colours_are_pythons_within_a_level_or_three(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = hairy_subject()
    compiled = decontaminate(subject.rgb, subject.alpha)
    monkeypatch.setattr(native, "KERNELS", None)
    slow = decontaminate(subject.rgb, subject.alpha)
    difference = np.abs(compiled.astype(int) - slow)
    assert difference.max() <= 3
    assert difference[(subject.alpha > 0) & (subject.alpha < 255)].mean() <= 0.1


@pytest.mark.parametrize("size", [(640, 427), (1, 1), (7, 900), (320, 320), (97, 1403)])
@pytest.mark.parametrize("inset", [0.0, 0.4])
def test_a_squeezed_photo_is_pillows_within_a_level_or_two(size: tuple[int, int], inset: float) -> None:
    """Pillow rounds, and cuts overshoots off, between columns and rows too."""
    assert native.KERNELS is not None
    rgb = smooth(*size)
    extent = (inset, 0.0, float(size[0]), size[1] - inset)
    expected = np.asarray(Image.fromarray(rgb).resize((320, 320), Image.Resampling.LANCZOS, box=extent))
    difference = np.abs(native.KERNELS.lanczos(rgb, extent, 320).astype(int) - expected)
    assert difference.max() <= 3
    assert difference.mean() <= 0.3


def test_what_c_would_trust_is_checked(kernels: native.Kernels) -> None:
    rgb, alpha = smooth(8, 6), np.zeros((6, 8), np.uint8)
    models, colors = np.zeros((6, 8, 4), np.float32), np.zeros((6, 8, 8), np.float32)
    locked = rgb.copy()
    locked.setflags(write=False)
    wrong = [
        lambda: kernels.apply_models(rgb[:, ::-1], alpha, models),
        lambda: kernels.apply_models(rgb, alpha[:5].copy(), models),
        lambda: kernels.fit_alpha(rgb.astype(np.float32), alpha, 2, 0.0, 15.0, 40.0),
        lambda: kernels.unmix(rgb, alpha.T, colors, 0.1),
        lambda: kernels.fit_colors(rgb, colors, 0.1),
        lambda: kernels.fit_colors(np.zeros((6, 8, 4), np.uint8), models, 0.1),
        lambda: kernels.apply_models(rgb, alpha, colors),
        lambda: kernels.unmix(rgb, alpha, colors.astype(np.float64), 0.1),
        lambda: kernels.pack_rows(rgb, alpha[:, :7], 0, 6),
        lambda: kernels.pack_rows(rgb, alpha, 0, 7),
        lambda: kernels.pack_rows(rgb, alpha, -1, 2),
        lambda: kernels.flatten(rgb, alpha, rgb[:5].copy()),
        lambda: kernels.flatten(locked, alpha, np.zeros(3, np.uint8)),
        lambda: kernels.unmix(locked, alpha, colors, 0.1),
        lambda: kernels.lanczos(rgb[:, ::-1], (0.0, 0.0, 8.0, 6.0), 4),
        lambda: kernels.lanczos(rgb, (0.0, 0.0, 8.5, 6.0), 4),
        lambda: kernels.lanczos(rgb, (3.0, 0.0, 3.0, 6.0), 4),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"wanted|no rows|no part"):
            call()


@pytest.fixture
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", CORE / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for path in [*native.FOLDER.glob("*.c"), *native.FOLDER.glob("*.h")]:
        shutil.copy(path, tmp_path)
    return tmp_path


def test_compiled_without_a_warning_they_are_loaded(
    sources: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "cc -Werror")
    assert hatch_build.compile_kernels(sources)
    assert native.load(sources / "kernels.so") is not None
    assert [path.name for path in sources.glob("*.so")] == ["kernels.so"]


def test_those_of_other_sources_are_not_loaded(
    sources: Path, hatch_build: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    assert hatch_build.compile_kernels(sources)
    with (sources / "refine.c").open("a") as file:
        file.write("/* changed */\n")
    with caplog.at_level(logging.WARNING, "cutout.imaging"):
        assert native.load(sources / "kernels.so") is None
    assert "sources have changed" in caplog.text


@pytest.mark.parametrize("content", [None, b"not a library"])
def test_a_missing_or_damaged_library_is_told(
    content: bytes | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        (tmp_path / "kernels.so").write_bytes(content)
    with caplog.at_level(logging.WARNING, "cutout.imaging"):
        assert native.load(tmp_path / "kernels.so") is None
    assert len(caplog.messages) == 1
    assert "no compiled kernels" in caplog.text


def test_a_library_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.c").write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-o", tmp_path / "kernels.so", tmp_path / "empty.c"], check=True)
    assert native.load(tmp_path / "kernels.so") is None


@pytest.mark.parametrize("compiler", ["no-such-compiler", "", "false"])
def test_without_a_compiler_that_works_there_is_no_library(
    compiler: str, sources: Path, hatch_build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sources / "kernels.so").write_bytes(b"of an earlier version")
    monkeypatch.setenv("CC", compiler)
    assert not hatch_build.compile_kernels(sources)
    assert not list(sources.glob("*.so"))


def test_a_process_without_them_works_and_says_so_once(tmp_path: Path) -> None:
    package = tmp_path / "cutout_core"
    shutil.copytree(CORE / "cutout_core", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import numpy as np, cutout_core\n"
        "assert cutout_core.__path__[0].startswith(sys.argv[1])\n"
        "from cutout_core.imaging.encode import encode\n"
        "from cutout_core.imaging.refine import refine_alpha\n"
        "rgb = np.full((700, 600, 3), 128, np.uint8)\n"
        "for _ in range(2):\n"
        "    assert encode(rgb, refine_alpha(rgb, np.eye(512, dtype=np.float32)), 'png', None)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "no compiled kernels" in line] == done.stderr.splitlines()
    assert done.stderr.count("no compiled kernels") == 1
