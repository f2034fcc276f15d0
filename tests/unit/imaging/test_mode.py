"""`mode=auto`: what each rule asks for, and that it is safe to call from several threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cutout_build.errors import BuildError
from cutout_build.photos import photo
from cutout_core.contract.tensors import MODES
from cutout_core.imaging.mode import ModeChoice, choose_mode, face_score, largest_shape, roughness, sweep_score

UInt8 = NDArray[np.uint8]

SIDE = 512
BLUE = (30, 60, 160)


def paper(light: int = 235) -> UInt8:
    """A sweep: light paper that darkens towards the bottom."""
    ramp = np.linspace(light, light - 25, SIDE).astype(np.uint8)
    return np.repeat(np.repeat(ramp[:, None, None], SIDE, axis=1), 3, axis=2).copy()


def bottle(ground: UInt8) -> UInt8:
    photo = ground.copy()
    cv2.rectangle(photo, (200, 150), (310, 420), BLUE, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(photo, (255, 140), 40, BLUE, cv2.FILLED, cv2.LINE_AA)
    return photo


def brush(ground: UInt8) -> UInt8:
    """A ball of stiff hair."""
    photo = ground.copy()
    for angle in np.linspace(0, 2 * np.pi, 120, endpoint=False):
        end = (255 + 150 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(photo, (255, 255), end.tolist(), BLUE, 2, cv2.LINE_AA)
    return photo


def texture() -> UInt8:
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def person() -> UInt8:
    """The astronaut of scikit-image."""
    try:
        return np.asarray(Image.open(photo("astronaut")).convert("RGB"))
    except BuildError as error:
        pytest.skip(str(error))


def test_thing_on_a_sweep_is_a_product() -> None:
    choice = choose_mode(bottle(paper()))
    assert choice.mode == "product"
    assert choice.certainty > 0.6


def test_hairy_thing_on_a_sweep_is_an_object() -> None:
    assert choose_mode(brush(paper())).mode == "object"


@pytest.mark.parametrize(
    "ground",
    [
        pytest.param(texture(), id="texture"),
        pytest.param(paper(90), id="dark"),
        pytest.param(np.full((SIDE, SIDE, 3), (120, 180, 250), np.uint8), id="blue"),
    ],
)
def test_thing_on_another_ground_is_an_object(ground: UInt8) -> None:
    assert choose_mode(bottle(ground)).mode == "object"


def test_empty_sweep_is_an_object() -> None:
    assert choose_mode(paper()) == ModeChoice("object", 1.0)


def test_thing_that_touches_the_border_stays_a_product() -> None:
    shot = paper()
    cv2.rectangle(shot, (200, 200), (310, SIDE), BLUE, cv2.FILLED)
    assert choose_mode(shot).mode == "product"


def test_rougher_border_lowers_the_score() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.normal(0, 1, (SIDE, SIDE, 3)).astype(np.float32), (0, 0), 6)
    scores = [
        sweep_score(np.clip(bottle(paper()) + amount * noise / noise.std(), 0, 255).astype(np.uint8))
        for amount in (0, 2, 4, 12)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.6
    assert scores[-1] == 0


def test_face_is_a_portrait(person: UInt8) -> None:
    choice = choose_mode(person)
    assert choice.mode == "portrait"
    assert choice.certainty >= 0.5


def test_face_without_colour_is_a_portrait(person: UInt8) -> None:
    grey = np.repeat(cv2.cvtColor(person, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    assert choose_mode(grey).mode == "portrait"


def test_face_of_no_skin_is_none(person: UInt8) -> None:
    assert face_score(person[..., ::-1]) == 0


def test_squeezed_face_is_found_by_its_aspect(person: UInt8) -> None:
    head = person[:256, 96:352]
    tall = cv2.copyMakeBorder(head, 128, 128, 0, 0, cv2.BORDER_REPLICATE)
    squeezed = cv2.resize(tall, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    assert face_score(squeezed, 0.5) >= 0.5 > face_score(squeezed, 1.0)


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "grass", "gravel", "brick"])
def test_other_photos_are_objects(name: str, person: UInt8) -> None:
    rgb = np.asarray(Image.open(photo(name)).convert("RGB"))
    assert choose_mode(rgb).mode == "object"


def test_channels_first_in_memory_gives_the_same(person: UInt8) -> None:
    planes = np.ascontiguousarray(person.transpose(2, 0, 1))
    assert choose_mode(planes.transpose(1, 2, 0)) == choose_mode(person)


def test_threads_agree_with_one_thread(person: UInt8) -> None:
    shots = [person, bottle(paper()), brush(paper()), texture()] * 4
    alone = [choose_mode(shot) for shot in shots]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(choose_mode, shots)) == alone


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.floats(0.02, 50),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 40, 256]),
)
def test_any_image_gets_a_mode(width: int, height: int, aspect: float, seed: int, levels: int) -> None:
    rgb = np.random.default_rng(seed).integers(256 - levels, 256, (height, width, 3), dtype=np.uint8)
    choice = choose_mode(rgb, aspect)
    assert choice.mode in MODES
    assert 0.5 <= choice.certainty <= 1
    assert choose_mode(rgb, aspect) == choice


def test_roughness_of_a_disc_and_of_a_comb() -> None:
    disc, comb = np.zeros((SIDE, SIDE), np.uint8), np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(disc, (255, 255), 100, 1, cv2.FILLED)
    comb[100:120, 100:400] = 1
    comb[100:250, 100:400:6] = 1
    assert roughness(disc) == pytest.approx(1, abs=0.05)
    assert roughness(comb) > 2


def test_largest_shape_is_filled_and_alone() -> None:
    shapes = np.zeros((100, 100), np.uint8)
    cv2.circle(shapes, (60, 60), 30, 1, 3)
    shapes[5:10, 5:10] = 1
    largest = largest_shape(shapes)
    assert largest[60, 60] == 1
    assert not largest[5:10, 5:10].any()
    assert not largest_shape(np.zeros_like(shapes)).any()
