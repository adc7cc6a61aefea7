"""Which fruit a class is a variety of, from a table that ships and can be replaced."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from pomona.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

NOT_FRUIT = "none"
"""The fruit of classes that show no fruit at all."""

_APART = re.compile(r"[\s_-]+")


@dataclass(frozen=True)
class FruitTable:
    """Class to fruit.

    Attributes:
        fruits: fruit by the class's words in lower case.
    """

    fruits: Mapping[str, str]

    def fruit_of(self, label: str) -> str:
        """The fruit of a class.

        The class itself, else the longest run of its first words that the table has (`Apple Fuji
        7` is a kind of `Apple`), else the first word, in lower case.
        """
        words = _words(label)
        for end in range(len(words), 0, -1):
            found = self.fruits.get(" ".join(words[:end]))
            if found is not None:
                return found
        return words[0] if words else label

    def fruits_of(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The fruit of each class."""
        return tuple(self.fruit_of(label) for label in labels)


def load_fruits(path: Path | None = None) -> FruitTable:
    """The table that ships, or a CSV with the columns ``class`` and ``fruit``.

    Raises:
        UsageError: the file cannot be read or lacks a column.
    """
    if path is None:
        text = (resources.files("pomona.recognition") / "fruits.csv").read_text(encoding="utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"Cannot read the table of fruits {path}: {error}.",
                "Give a CSV file in UTF-8 with the columns class and fruit.",
            ) from error
    rows = csv.DictReader(io.StringIO(text))
    if not {"class", "fruit"} <= set(rows.fieldnames or ()):
        raise UsageError(
            f"The table of fruits {path} lacks the column class or fruit.",
            "Its first line has to be: class,fruit",
        )
    return FruitTable(
        {
            " ".join(_words(row["class"])): row["fruit"].strip()
            for row in rows
            if row["class"] and row["fruit"]
        }
    )


def with_article(fruit: str) -> str:
    """``an apple``, ``a pear``."""
    return f"{'an' if fruit[:1].lower() in 'aeiou' else 'a'} {fruit}"


def _words(label: str) -> list[str]:
    return [word for word in _APART.split(label.strip().lower()) if word]
