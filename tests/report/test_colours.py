"""The page's colours, by the formulas of WCAG 2 and of Machado et al. (2009)."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import numpy as np
import pytest

_TEXT, _GRAPHICS = 4.5, 3.0
_APART = 0.1
"""In OKLab, where black and white are 1 apart."""
_SIGHTS = {
    "full": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
               [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                 [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
_LMS = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
_LAB = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip


def _themes() -> dict[str, dict[str, str]]:
    text = files("pomona.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    return {
        name: dict(re.findall(r"--(\w+): (#\w+);", rules))
        for name, rules in (("light", light), ("dark", dark))
    }


_THEMES = _themes()


def _linear(colour: str) -> Any:
    values = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _contrast(one: str, other: str) -> float:
    bright = sorted(
        (float(_linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (one, other)), reverse=True
    )
    return (bright[0] + 0.05) / (bright[1] + 0.05)


def test_the_formula_is_that_of_the_standard() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", _THEMES)
def test_text_and_marks_stand_out(theme: str) -> None:
    colours = _THEMES[theme]
    for ground in ("paper", "card", "shade"):
        for ink in ("ink", "soft"):
            assert _contrast(colours[ink], colours[ground]) >= _TEXT, (ink, ground)
    for ink, ground in (("leaf", "card"), ("leaf", "paper"), ("card", "leaf")):
        assert _contrast(colours[ink], colours[ground]) >= _TEXT, (ink, ground)
    for mark in ("edge", "fruit", *(f"p{n}" for n in range(8))):
        assert _contrast(colours[mark], colours["card"]) >= _GRAPHICS, mark


@pytest.mark.parametrize("sight", _SIGHTS)
@pytest.mark.parametrize("theme", _THEMES)
def test_labels_can_be_told_apart_by_every_eye(theme: str, sight: str) -> None:
    seen = [
        np.clip(np.asarray(_SIGHTS[sight]) @ _linear(_THEMES[theme][f"p{n}"]), 0, 1)
        for n in range(8)
    ]
    places = [np.asarray(_LAB) @ np.cbrt(np.asarray(_LMS) @ colour) for colour in seen]
    for n, one in enumerate(places):
        for other in places[n + 1 :]:
            assert np.linalg.norm(one - other) >= _APART
