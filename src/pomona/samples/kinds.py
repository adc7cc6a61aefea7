"""The catalogue: every class of the samples, and how one fruit of it is grown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pomona.samples import berries, citrus, halves, orchard, tropical

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from pomona.samples.surface import Surface

    Grower = Callable[[np.random.Generator], list[Surface]]


@dataclass(frozen=True)
class Kind:
    """One class of the data set.

    Attributes:
        name: of the class and its folder.
        grow: makes one fruit from a random generator: the surfaces it is made of.
        pitch: degrees by which the camera looks down on an upright fruit.
        lies: it is also photographed lying on its side, as ``r_`` frames.
    """

    name: str
    grow: Grower
    pitch: float = 16.0
    lies: bool = True


KINDS: tuple[Kind, ...] = (
    Kind("Apple Golden", partial(orchard.apple, ground="#d8c650", blush="#e0a850", red=0.22,
                                 streaks=0.1, dots="#8a7a30")),
    Kind("Apple Granny Smith", partial(orchard.apple, ground="#86b53a", blush="#9cc24e", red=0.4,
                                       streaks=0.1, dots="#d8e4a0")),
    Kind("Apple Red", partial(orchard.apple, ground="#d8913c", blush="#a3141f", red=0.82,
                              streaks=0.45, dots="#e8b890")),
    Kind("Avocado", halves.avocado),
    Kind("Avocado Half", halves.avocado_half, pitch=6, lies=False),
    Kind("Banana", tropical.banana, pitch=8, lies=False),
    Kind("Blackberry", partial(berries.raspberry, ripe="#34203c", deep="#160e1c", gloss=0.9)),
    Kind("Blueberry", berries.blueberry, pitch=48),
    Kind("Carambola", tropical.carambola, pitch=22),
    Kind("Cherry Rainier", partial(orchard.cherry, ground="#f2c45c", blush="#d8402c", red=0.48),
         lies=False),
    Kind("Cherry Red", partial(orchard.cherry, ground="#a0121c", blush="#6a0814", red=0.5),
         lies=False),
    Kind("Grape Blue", partial(berries.grapes, skins=("#2c2450", "#4a2c5c"), dust=0.35),
         pitch=6, lies=False),
    Kind("Grape White", partial(berries.grapes, skins=("#a9bf4c", "#c9c860"), dust=0.12),
         pitch=6, lies=False),
    Kind("Kiwi", halves.kiwi),
    Kind("Kiwi Half", halves.kiwi_half, pitch=6, lies=False),
    Kind("Lemon", citrus.lemon),
    Kind("Lime", citrus.lime),
    Kind("Orange", citrus.orange, pitch=24),
    Kind("Peach", orchard.peach, pitch=20),
    Kind("Pear Green", partial(orchard.pear, ground="#b9bf48", blush="#c9b84c", red=0.4)),
    Kind("Pear Red", partial(orchard.pear, ground="#c9a83c", blush="#a8302a", red=0.8)),
    Kind("Pineapple", tropical.pineapple, pitch=8, lies=False),
    Kind("Plum", orchard.plum),
    Kind("Pomegranate", tropical.pomegranate),
    Kind("Raspberry", partial(berries.raspberry, ripe="#d8324a", deep="#a8142e", gloss=0.45)),
    Kind("Strawberry", berries.strawberry, pitch=12),
    Kind("Tomato Red", partial(berries.tomato, ripe="#d0281c", pale="#d86a2c"), pitch=24),
    Kind("Tomato Yellow", partial(berries.tomato, ripe="#f0b822", pale="#d8c040"), pitch=24),
    Kind("Watermelon", tropical.watermelon),
)  # fmt: skip
"""All classes, by name."""
