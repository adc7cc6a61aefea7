"""What the network may not see, it does not see; how sure it is, it learns from the rest."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

data = importlib.import_module("data")
sources = importlib.import_module("sources")
cutouts = importlib.import_module("cutouts")
calibrating = importlib.import_module("calibrating")


@pytest.mark.parametrize("seed", range(20))
def test_a_held_out_frame_is_no_neighbour_of_one_trained_on(seed: int) -> None:
    runs = np.repeat([0, 1, 2], [100, 41, 9])
    split = data.split_runs(runs, seed)
    for run in range(3):
        frames = np.flatnonzero(runs == run)
        tried = split.validation[np.isin(split.validation, frames)]
        trained = split.training[np.isin(split.training, frames)]
        assert len(tried) == round(0.15 * len(frames))
        assert np.all(np.diff(tried) == 1)
        apart = np.abs(tried[:, None] - trained[None, :])
        assert apart.min(initial=len(runs)) > data.MARGIN


def test_a_held_out_variety_is_not_in_the_early_release() -> None:
    apples = [("Apple", f"Apple {n}") for n in range(1, 9)]
    twins = [("Apple", "Apple Golden 1"), ("Apple", "Apple Red 2"), ("Cherry", "Cherry Rainier 1")]
    cherries = [("Cherry", name) for name in ("Cherry Wax", "Cherry Sour")]
    tomatoes = [("Tomato", f"Tomato {n}") for n in range(1, 5)]
    held_out = sources._held_out_varieties([*apples, *twins, *cherries, *tomatoes])
    assert len(held_out) == 10
    assert held_out.isdisjoint(name for _, name in twins)
    assert {"Cherry Wax", "Cherry Sour"} <= held_out


def test_a_bright_spot_on_a_fruit_is_fruit_and_the_white_around_it_is_not() -> None:
    picture = np.full((1, 100, 100, 3), 255, np.uint8)
    rows, columns = np.mgrid[:100, :100]
    disc = (rows - 50) ** 2 + (columns - 50) ** 2 < 30**2
    spot = (rows - 45) ** 2 + (columns - 45) ** 2 < 5**2
    picture[0, disc] = (180, 30, 20)
    picture[0, spot] = 255
    (cut,) = cutouts.cutouts([picture[0]] * 32)[:1]
    assert np.all(cut[disc, 3] > 200)
    assert np.all(cut[~disc, 3] == 0)
    np.testing.assert_array_equal(cut[..., :3], picture[0])


def test_the_temperature_that_blurred_the_logits_is_found_again() -> None:
    random = np.random.default_rng(5)
    true = random.normal(size=(8000, 6)).astype(np.float32) * 3
    chances = calibrating.softmax(true)
    drawn = (chances.cumsum(1) < random.random((8000, 1))).sum(1).clip(max=5)
    found = calibrating.calibration(true * 0.6, drawn)
    assert found["temperature"] == pytest.approx(0.6, abs=0.04)
    sharp = calibrating.softmax(true * 0.6 / found["temperature"])
    sure = sharp.max(1) >= found["sure"]
    wrong = (sharp.argmax(1) != drawn)[sure].mean()
    assert 0.08 < wrong < 0.11
    assert 0.2 < sure.mean() < 0.9
