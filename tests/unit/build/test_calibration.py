"""Calibration: the fit, the figures of reliability, the built photos, and the cache of masks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from cutout_build.errors import BuildError
from cutout_build.quality import calibration_data, mode_measure, warning_cases
from cutout_build.quality.calibration import Outcome, fit, logistic, main, outcomes
from cutout_build.quality.calibration_data import Case, Source, cached_cases
from cutout_build.quality.composites import encode_jpeg
from cutout_build.quality.matting_graph import AlphaMaker
from cutout_build.quality.mode_cases import ModeCase
from cutout_build.quality.reliability import reliability, spearman, wilson
from cutout_build.quality.reliability_plot import reliability_svg
from cutout_core.contract import ResultWarning
from cutout_core.contract.tensors import QUALITY_ENGINES
from cutout_core.imaging import confidence
from cutout_core.imaging.confidence import EMPTY_CONFIDENCE, judge
from cutout_core.imaging.levels import mask_to_alpha

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

SIDE = 512


def outcome(trust: float, iou: float, *, found: bool = True, values: tuple[float, ...] = ()) -> Outcome:
    return Outcome("photo", "composite", found, iou, 100 * (1 - iou), trust, (), values)


def drawn(count: int, weights: tuple[float, ...], seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Features and outcomes of a population that follows the regression exactly."""
    rng = np.random.default_rng(seed)
    values = rng.normal((2, -1), (1.5, 0.7), (count, 2))
    chance = 1 / (1 + np.exp(-(weights[0] + values @ weights[1:])))
    return values, (rng.random(count) < chance).astype(np.float64)


def test_logistic_finds_the_weights_that_made_the_data() -> None:
    weights = (-2.0, 1.5, -0.8)
    values, good = drawn(20_000, weights)
    assert logistic(values, good) == pytest.approx(weights, abs=0.12)


def test_logistic_stays_finite_where_the_classes_part() -> None:
    values = np.array([[-2.0], [-1.0], [1.0], [2.0]])
    bias, weight = logistic(values, np.array([0.0, 0, 1, 1]))
    assert bias == pytest.approx(0, abs=1e-6)
    assert 0.5 < weight < 10


def test_fit_takes_found_rows_and_counts_the_empty_ones() -> None:
    values, good = drawn(400, (-2.0, 1.5, -0.8))
    seen = [outcome(0.5, 0.95 if hit else 0.4, values=tuple(row)) for row, hit in zip(values, good, strict=True)]
    unseen = [outcome(0.5, iou, found=False) for iou in (1.0, 1.0, 0.0)]
    weights, empty = fit(seen + unseen)
    assert weights == logistic(values, good)
    assert empty == pytest.approx(3 / 5)


def test_fit_wants_both_classes() -> None:
    with pytest.raises(BuildError, match="both kinds"):
        fit([outcome(0.5, 1.0, values=(1.0, 0.0))] * 5)


def test_command_without_a_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "fit" in capsys.readouterr().err


def test_reliability_of_a_confidence_that_keeps_its_word() -> None:
    rng = np.random.default_rng(0)
    rows = [outcome(trust, 1.0 if rng.random() < trust else 0.5) for trust in rng.uniform(0, 1, 6000)]
    figures = reliability(rows, 5)
    assert figures.expected_error < 0.03
    assert figures.brier < 0.75 * figures.brier_constant
    assert figures.auc > 0.8
    assert figures.rank_iou > 0.5 > -0.5 > figures.rank_mae
    assert [group.count for group in figures.bins] == [1200] * 5
    assert all(group.low <= group.good <= group.high for group in figures.bins)


def test_reliability_of_a_confidence_that_says_the_same_of_all() -> None:
    rows = [outcome(0.9 + 1e-9 * index, 1.0 if index % 2 else 0.5) for index in range(100)]
    figures = reliability(rows, 4)
    assert figures.expected_error == pytest.approx(0.4, abs=1e-6)
    assert figures.brier > figures.brier_constant
    assert figures.auc == pytest.approx(0.5, abs=0.02)


def test_ranks_share_ties() -> None:
    assert spearman(np.array([1.0, 2, 2, 3]), np.array([1.0, 5, 5, 9])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)


def test_wilson_interval() -> None:
    """8 of 10, as tabulated in the literature."""
    assert wilson(0.8, 10) == pytest.approx((0.490, 0.943), abs=0.001)
    assert wilson(1.0, 10)[1] == 1


def test_curve_is_an_svg_with_a_dot_for_each_bin() -> None:
    rows = [outcome(index / 60, 1.0 if index > 20 else 0.2) for index in range(60)]
    figures = reliability(rows, 6)
    root = ET.fromstring(reliability_svg({"fast": figures.bins}, "a < b", "IoU ≥ 0.9"))
    dots = root.findall(".//{http://www.w3.org/2000/svg}circle")
    heights = [float(dot.attrib["cy"]) for dot in dots]
    assert len(dots) == 6
    assert heights == sorted(heights, reverse=True)
    assert "a < b" in "".join(root.itertext())


def test_curve_tells_its_series_apart() -> None:
    """Each has a colour of its own, and its name beside it."""
    rows = [outcome(index / 60, 1.0 if index > 20 else 0.2) for index in range(60)]
    series = {name: reliability(rows, bins).bins for name, bins in (("fast", 3), ("standard", 4), ("high", 5))}
    root = ET.fromstring(reliability_svg(series, "title", "good"))
    colors = Counter(dot.attrib["fill"] for dot in root.findall(".//{http://www.w3.org/2000/svg}circle"))
    assert sorted(colors.values()) == [3, 4, 5]
    assert set(series) <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}


def stamp(color: tuple[int, int, int]) -> UInt8:
    rgba = np.zeros((200, 160, 4), np.uint8)
    cv2.ellipse(rgba, (80, 100), (75, 95), 0, 0, 360, (*color, 255), cv2.FILLED, cv2.LINE_AA)
    return rgba


@pytest.mark.parametrize("kind", list(warning_cases.KINDS))
def test_built_photo_raises_its_own_warning_and_no_other(kind: str) -> None:
    """Given its true alpha."""
    warning, build = warning_cases.KINDS[kind]
    ground = np.full((SIDE, SIDE, 3), (60, 140, 60), np.uint8)
    ground[:, ::8] = (90, 170, 90)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        color, alpha, behind = build([stamp((200, 60, 40)), stamp((40, 60, 200))], ground, rng)
        photo = np.clip(alpha[..., None] * color + (1 - alpha[..., None]) * behind, 0, 255).astype(np.uint8)
        assert 0 <= alpha.min() <= alpha.max() <= 1
        judged = judge(warning_cases.silhouette(alpha), alpha, photo, "standard")
        assert judged.warnings == ((warning,) if warning else ())


def test_every_warning_of_the_judge_is_built() -> None:
    built = {warning for warning, _ in warning_cases.KINDS.values()} - {None}
    assert built == {
        ResultWarning.LOW_CONTRAST_EDGE,
        ResultWarning.SUBJECT_TOUCHES_BORDER,
        ResultWarning.SEVERAL_SUBJECTS,
        ResultWarning.PROBABLY_TRANSPARENT,
    }


class OneMask:
    """A segmentation that finds a disc in every photo, and counts."""

    calls = 0

    def __init__(self, threads: int, model: str) -> None:
        self.manifest = type("Manifest", (), {"divide_by_max": True})

    def input_from(self, rgb: UInt8, *_: object) -> UInt8:
        return rgb

    def mask(self, _: UInt8, precision: str) -> Float32:
        OneMask.calls += 1
        shape = np.zeros((SIDE, SIDE), np.float32)
        cv2.circle(shape, (256, 256), 150, 1, cv2.FILLED)
        return cv2.GaussianBlur(shape, (0, 0), 2)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration_data, "Segmentation", OneMask)
    monkeypatch.setattr(OneMask, "calls", 0)
    return tmp_path


def photos(count: int) -> Iterator[Source]:
    truth = np.zeros((300, 400), np.float32)
    truth[50:250, 100:300] = 1
    file = encode_jpeg(np.full((300, 400, 3), 128, np.uint8), 90)
    for index in range(count):
        yield Source(f"photo {index}", file, truth if index else None)


def test_cases_come_from_the_cache_the_second_time(cache: Path) -> None:
    first = list(cached_cases("set", "kind", photos(3)))
    second = list(cached_cases("set", "kind", iter(())))
    assert OneMask.calls == 3
    for made, kept in zip(first, second, strict=True):
        assert (made.name, made.kind) == (kept.name, kept.kind)
        assert made.mask.shape == made.truth.shape == made.rgb.shape[:2] == (SIDE, SIDE)
        np.testing.assert_array_equal(made.rgb, kept.rgb)
        np.testing.assert_array_equal(made.mask, kept.mask)
    assert first[0].truth.max() == 0
    assert first[1].truth.mean() == pytest.approx(200 * 200 / (300 * 400), abs=0.002)


def test_set_that_breaks_off_leaves_nothing(cache: Path) -> None:
    def broken() -> Iterator[Source]:
        yield from photos(1)
        raise BuildError("no more")

    with pytest.raises(BuildError):
        list(cached_cases("set", "kind", broken()))
    assert len(list(cached_cases("set", "kind", photos(2)))) == 2


@pytest.mark.parametrize("quality", QUALITY_ENGINES)
def test_outcome_of_a_right_a_wrong_and_an_empty_result(quality: str) -> None:
    shape = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(shape, (256, 256), 150, 1, cv2.FILLED)
    nothing, rgb = np.zeros_like(shape), np.full((SIDE, SIDE, 3), 128, np.uint8)
    right, wrong, empty = outcomes(
        [Case("a", "k", shape, rgb, shape), Case("b", "k", shape, rgb, nothing), Case("c", "k", nothing, rgb, nothing)],
        quality,
        AlphaMaker(Path("no such graph")),
    )
    assert (right.iou, wrong.iou, empty.iou) == (1, 0, 1)
    assert (right.good, wrong.good, empty.good) == (True, False, True)
    assert right.confidence == wrong.confidence > 0.9
    assert (empty.found, empty.features, empty.confidence) == (False, (), EMPTY_CONFIDENCE)
    assert len(right.features) + 1 == len(confidence.WEIGHTS[quality])


def test_alpha_without_a_graph_is_that_of_fast() -> None:
    alphas = AlphaMaker(Path("no such graph"))
    mask = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    assert not alphas.has_network
    np.testing.assert_array_equal(alphas.alpha(np.zeros((SIDE, SIDE, 3), np.uint8), mask), mask_to_alpha(mask))


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A matting graph whose alpha is the mask, halved for products."""
    image = helper.make_tensor_value_info("IMAGE", TensorProto.UINT8, ["n", 3, SIDE, SIDE])
    mask = helper.make_tensor_value_info("MASK", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    mode = helper.make_tensor_value_info("MODE", TensorProto.FLOAT, ["n", 3, 1, 1])
    alpha = helper.make_tensor_value_info("ALPHA", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])
    kernel = helper.make_tensor("kernel", TensorProto.FLOAT, [1, 3, 1, 1], [0.5, 1, 1])
    nodes = [
        helper.make_node("Conv", ["MODE", "kernel"], ["share"]),
        helper.make_node("Mul", ["MASK", "share"], ["ALPHA"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "matting", [image, mask, mode], [alpha], [kernel]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = tmp_path / "matting.onnx"
    onnx.save(model, path)
    return path


def test_alpha_of_a_graph_follows_image_mask_and_mode(graph: Path) -> None:
    alphas = AlphaMaker(graph)
    mask = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    rgb = np.zeros((SIDE, SIDE, 3), np.uint8)
    assert alphas.has_network
    np.testing.assert_allclose(alphas.alpha(rgb, mask), mask, atol=1e-6)
    np.testing.assert_allclose(alphas.alpha(rgb, mask, "product"), mask / 2, atol=1e-6)


def test_modes_are_compared_where_the_choice_is_not_object(
    cache: Path, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thing on a sweep and one before noise; this graph makes products worse."""
    truth = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(truth, (256, 256), 150, 1, cv2.FILLED)
    paper, noise = np.full((SIDE, SIDE, 3), 230, np.uint8), np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3))
    files = [
        encode_jpeg(np.where(truth[..., None] > 0, (30, 60, 160), ground).astype(np.uint8), 95)
        for ground in (paper, noise)
    ]
    made = [ModeCase(f"{i}", "kind", "product", file, truth) for i, file in enumerate(files)]
    monkeypatch.setattr(mode_measure, "mode_cases", lambda split: iter(made))
    (row,) = mode_measure.compare_modes("test", AlphaMaker(graph))
    assert (row["kind"], row["count"], row["band_lower"]) == ("kind", 1, 0)
    assert row["band"][1] > row["band"][0]
    assert row["mae"][1] > 10 * row["mae"][0]
