"""Training samples are what the network will meet, and depend on the generator alone."""

from __future__ import annotations

import numpy as np
import pytest

from cutout_build.matting.procedural import procedural_subject
from cutout_build.matting.samples import KIND_SHARES, MODE_SHARES, Frame, Sampler
from cutout_build.matting.sources import BANK_SHARES, Cutout
from cutout_core.contract.tensors import MODES


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    rng = np.random.default_rng(0)
    cutouts = [Cutout(kind, kind, procedural_subject(kind, rng, 128)) for kind in BANK_SHARES]
    cutouts.append(Cutout("stamp", "stamp", procedural_subject("fur", rng, 160)))
    backdrops = [rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)]
    grey = np.full((512, 512), 128, np.uint8)
    frame = Frame("stamp", np.zeros((512, 512, 3), np.uint8), grey, grey)
    return Sampler(cutouts, backdrops, [frame], 96)


def test_shares_are_shares() -> None:
    assert sum(KIND_SHARES.values()) == pytest.approx(1)
    assert set(KIND_SHARES) == {*BANK_SHARES, "stamp"}
    assert set(MODE_SHARES) == {*KIND_SHARES, "photo"}
    assert all(len(shares) == len(MODES) and sum(shares) == pytest.approx(1) for shares in MODE_SHARES.values())


@pytest.mark.parametrize("seed", range(30))
def test_a_sample_fits_together(sampler: Sampler, seed: int) -> None:
    sample = sampler.draw(np.random.default_rng([4, seed]))
    assert sample.image.shape == (96, 96, 3)
    assert sample.image.dtype == np.uint8
    for plane in (sample.mask, sample.alpha):
        assert plane.shape == (96, 96)
        assert plane.dtype == np.float32
        assert plane.min() >= 0
        assert plane.max() <= 1
    assert sample.mode in range(len(MODES))


def test_a_sample_depends_on_its_generator_alone(sampler: Sampler) -> None:
    first, second = (sampler.draw(np.random.default_rng(11)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.alpha, second.alpha)


def test_most_samples_hold_an_edge(sampler: Sampler) -> None:
    composites = Sampler([one for kind in KIND_SHARES for one in sampler._by_kind[kind]], sampler._backdrops, [], 96)
    samples = [composites.draw(np.random.default_rng([5, seed])) for seed in range(40)]
    assert np.mean([sample.alpha.min() < 0.3 and sample.alpha.max() > 0.4 for sample in samples]) > 0.7
    assert 0.1 < np.mean([sample.tile for sample in samples]) < 0.5


def test_of_a_photograph_only_a_part_is_known(sampler: Sampler) -> None:
    values = np.random.default_rng(0).integers(0, 2, (512, 512), np.uint8) * 255
    photo = Frame("photo", np.dstack([values] * 3), values, values, values)
    with_photos = Sampler(
        [one for kind in KIND_SHARES for one in sampler._by_kind[kind]], sampler._backdrops, [], 96, [photo]
    )
    samples = [with_photos.draw(np.random.default_rng([6, seed])) for seed in range(60)]
    known = [sample for sample in samples if sample.known is not None]
    assert 2 <= len(known) <= 20
    for sample in known:
        np.testing.assert_array_equal(sample.known, sample.alpha)
        np.testing.assert_array_equal(sample.image[..., 0] / 255, sample.known)
