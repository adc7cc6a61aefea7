"""One name for a fruit, whichever data set it comes from.

Three data sets show fruits and each has its own names. The *kind* is what a person would call the
thing ("an apple"), and it is what the network's own classifier names.
"""

from __future__ import annotations

NOT_FRUIT = "Not fruit"

_FRUITS360 = {
    "Apple": (
        "Apple Red 1", "Apple Red 2", "Apple Red 3", "Apple Red Yellow", "Braeburn",
        "Golden 1", "Golden 2", "Golden 3", "Granny Smith",
    ),
    "Avocado": ("Avocado", "Avocado ripe"),
    "Peach": ("Peach", "Peach Flat"),
    "Kumquat": ("Kumquats",),
}  # fmt: skip
"""Kinds of the early Fruits-360 whose name is not that of their only class."""

_GROCERY = {
    "Red-Grapefruit": "Grapefruit",
    "Satsumas": "Satsuma",
    "Passion-Fruit": "Passion Fruit",
    "Brown-Cap-Mushroom": "Mushroom",
    "Carrots": "Carrot",
    "Red-Beet": "Beetroot",
}

_TINY = {
    "n07747607": "Orange",
    "n07749582": "Lemon",
    "n07753592": "Banana",
    "n07768694": "Pomegranate",
    "n07720875": "Pepper",
    "n07734744": "Mushroom",
}
"""Classes of Tiny ImageNet that are a kind of the other data sets."""

AMBIGUOUS = frozenset(
    {"n07583066", "n07715103", "n07711569", "n12267677", "n02927161", "n03089624"}
)
"""Guacamole, cauliflower, mashed potato, acorn, butcher shop, confectionery: plants, or shops that
may show fruit. They are neither taught as "not fruit" nor counted as it."""

_OF_FRUITS360 = {variety: kind for kind, names in _FRUITS360.items() for variety in names}


def kind_of_fruits360(name: str) -> str:
    """Kind of a class of the early Fruits-360."""
    return _OF_FRUITS360.get(name, name)


def kind_of_grocery(coarse: str) -> str:
    """Kind of a coarse class of the Grocery data set."""
    return _GROCERY.get(coarse, coarse)


def kind_of_tiny(wnid: str) -> str | None:
    """Kind of a class of Tiny ImageNet; None for the ambiguous ones."""
    return None if wnid in AMBIGUOUS else _TINY.get(wnid, NOT_FRUIT)
