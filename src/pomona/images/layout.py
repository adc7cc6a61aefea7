"""Label, split and group of an image from its path, by a template.

A template is a path of placeholders, matched against the *last* segments of each path, so that a
prefix such as the folder inside a tar does not matter: ``{split}/{label}/{name}``.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from pomona.errors import LayoutError

if TYPE_CHECKING:
    from collections.abc import Iterable

PLACEHOLDERS = ("split", "species", "group", "label", "name")
SPLIT_NAMES = frozenset(
    ["train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval", "holdout"]
)
"""Folder names that are taken for a split when the layout is detected, in any case."""

_FIELD = re.compile(r"\{([^{}]*)\}")


class Place(NamedTuple):
    """What a path says of its image; None where it says nothing."""

    label: str | None
    split: str | None
    group: str | None


NOWHERE = Place(None, None, None)


@dataclass(frozen=True)
class Layout:
    """A parsed template.

    Placeholders: ``{label}``, ``{split}``, ``{group}`` (a variety or any unit that must not be
    torn apart), ``{species}`` (fills the group where there is no ``{group}``), ``{name}`` (the
    file's name) and ``*`` (any one segment). A segment may mix text and placeholders, as in
    ``{label}_{name}``; the last placeholder of a segment takes what is left.

    Attributes:
        template: as the user wrote it.
    """

    template: str

    def __post_init__(self) -> None:
        _ = self._pattern  # a malformed template fails here, not at the first path

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _compile(self.template)

    def place(self, path: str) -> Place:
        """Label, split and group of ``path``; all None where it is too short or does not match."""
        depth = self.template.count("/") + 1
        segments = path.rsplit("/", depth)
        if len(segments) < depth:
            return NOWHERE
        match = self._pattern.match("/".join(segments[-depth:]))
        if match is None:
            return NOWHERE
        found = match.groupdict()
        return Place(
            found.get("label"), found.get("split"), found.get("group", found.get("species"))
        )


def _compile(template: str) -> re.Pattern[str]:
    fix = "Use segments of {split}, {label}, {group}, {species}, {name} and *, ending in {name}."
    if not template or template.startswith("/") or template.endswith("/"):
        raise LayoutError(f"The layout {template!r} is not a relative path of placeholders.", fix)
    names = _FIELD.findall(template)
    unknown = [name for name in names if name not in PLACEHOLDERS]
    if unknown:
        raise LayoutError(f"The layout {template!r} has an unknown part {{{unknown[0]}}}.", fix)
    if len(set(names)) != len(names):
        raise LayoutError(f"The layout {template!r} names the same part twice.", fix)
    if "name" not in names or "{name}" not in template.rsplit("/", 1)[-1]:
        raise LayoutError(f"The layout {template!r} does not end in {{name}}.", fix)
    segments = []
    for segment in template.split("/"):
        if segment == "*":
            segments.append("[^/]*")
            continue
        pieces = re.split(r"(\{[^{}]*\})", segment)
        last = max((i for i, piece in enumerate(pieces) if piece.startswith("{")), default=-1)
        segments.append(
            "".join(
                f"(?P<{piece[1:-1]}>[^/]+{'' if index == last else '?'})"
                if piece.startswith("{")
                else re.escape(piece)
                for index, piece in enumerate(pieces)
            )
        )
    return re.compile("/".join(segments) + r"\Z", re.DOTALL)


class LayoutDetector:
    """Finds the template that fits most of the paths it is shown.

    The folders of each path vote: a folder named like a split (``Training``, ``val``) makes
    ``{split}/{name}``, ``{split}/{label}/{name}`` or ``{split}/{species}/{label}/{name}``;
    otherwise the folder of a file is its label, unless all files lie in one and the same.
    """

    def __init__(self) -> None:
        self._votes: Counter[str] = Counter()
        self._folders: set[str] = set()

    def see(self, paths: Iterable[str]) -> None:
        """Let each path vote."""
        for path in paths:
            *folders, _ = path.split("/")
            self._votes[_shape(folders)] += 1
            if folders and len(self._folders) < 2:
                self._folders.add(folders[-1])

    def layout(self) -> Layout:
        """The winner; ``{name}`` where nothing was seen or no path says anything."""
        if not self._votes:
            return Layout("{name}")
        # Ties go to the deeper template, which says more.
        template = max(self._votes, key=lambda shape: (self._votes[shape], shape.count("/")))
        if template == "{label}/{name}" and len(self._folders) < 2:
            template = "{name}"
        return Layout(template)


def _shape(folders: list[str]) -> str:
    for depth, template in (
        (2, "{split}/{label}/{name}"),
        (3, "{split}/{species}/{label}/{name}"),
        (1, "{split}/{name}"),
    ):
        if len(folders) >= depth and folders[-depth].lower() in SPLIT_NAMES:
            return template
    return "{label}/{name}" if folders else "{name}"
