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
"""Folder names that are taken for a split, in any case, where a template does not fix its place."""

_FIELD = re.compile(r"\{([^{}]*)\}")
_ANY_DEPTH = "**"
_SHARD = re.compile(r"[^/]*\.tar/", re.IGNORECASE)
_FIX = "Use segments of {split}, {label}, {group}, {species}, {name}, * and one **; end in {name}."
_STRAYS = 0.02
"""Share of the paths that may lie at another depth without being counted as a second depth."""


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
    file's name), ``*`` (any one segment) and ``**`` (any number of folders, also none). A segment
    may mix text and placeholders, as in ``{label}_{name}``; the last placeholder of a segment
    takes what is left.

    What stands before ``**`` has no fixed place. A ``{split}`` there is the first folder with one
    of :data:`SPLIT_NAMES`; other placeholders there begin as far left as they can.

    The name of a tar is not a folder: ``Apple/000.tar/1.jpg`` lies in ``Apple``. A template that
    has ``.tar`` in it, as ``{label}.tar/{name}``, sees it.

    Attributes:
        template: as the user wrote it.
    """

    template: str

    def __post_init__(self) -> None:
        _ = self._pattern  # a malformed template fails here, not at the first path

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return _compile(self.template)

    @cached_property
    def _depth(self) -> int | None:
        """The number of segments; None where it varies."""
        segments = self.template.split("/")
        return None if _ANY_DEPTH in segments else len(segments)

    @cached_property
    def _sees_shards(self) -> bool:
        return ".tar" in self.template.lower()

    def place(self, path: str) -> Place:
        """Label, split and group of ``path``; all None where it is too short or does not match."""
        match = self._match(path)
        if match is None:
            return NOWHERE
        found = match.groupdict()
        return Place(
            found.get("label"), found.get("split"), found.get("group", found.get("species"))
        )

    def fits(self, path: str) -> bool:
        """Whether the template matches ``path``."""
        return self._match(path) is not None

    def _match(self, path: str) -> re.Match[str] | None:
        if not self._sees_shards:
            path = without_shards(path)
        if self._depth is not None:
            segments = path.rsplit("/", self._depth)
            if len(segments) < self._depth:
                return None
            path = "/".join(segments[-self._depth :])
        return self._pattern.match(path)


def without_shards(path: str) -> str:
    """``path`` without the names of tars in it."""
    return _SHARD.sub("", path) if ".tar/" in path.lower() else path


def _compile(template: str) -> re.Pattern[str]:
    if not template or template.startswith("/") or template.endswith("/"):
        raise LayoutError(f"The layout {template!r} is not a relative path of placeholders.", _FIX)
    names = _FIELD.findall(template)
    unknown = [name for name in names if name not in PLACEHOLDERS]
    if unknown:
        raise LayoutError(f"The layout {template!r} has an unknown part {{{unknown[0]}}}.", _FIX)
    if len(set(names)) != len(names):
        raise LayoutError(f"The layout {template!r} names the same part twice.", _FIX)
    segments = template.split("/")
    if "{name}" not in segments[-1]:
        raise LayoutError(f"The layout {template!r} does not end in {{name}}.", _FIX)
    if segments.count(_ANY_DEPTH) > 1:
        raise LayoutError(f"The layout {template!r} has more than one **.", _FIX)
    if _ANY_DEPTH not in segments:
        return re.compile("/".join(map(_segment, segments)) + r"\Z", re.DOTALL)
    at = segments.index(_ANY_DEPTH)
    before = "".join(_segment(part, loose=True) + "/" for part in segments[:at])
    after = "/".join(map(_segment, segments[at + 1 :]))
    skip = "(?:[^/]*/)*?"
    return re.compile(f"{skip + before if at else ''}{skip}{after}\\Z", re.DOTALL)


def _segment(segment: str, *, loose: bool = False) -> str:
    """A regular expression of one segment; ``loose`` where its place is not fixed."""
    if segment == "*":
        return "[^/]*"
    if loose and segment == "{split}":
        return f"(?P<split>(?i:{'|'.join(sorted(SPLIT_NAMES))}))"
    pieces = re.split(r"(\{[^{}]*\})", segment)
    last = max((i for i, piece in enumerate(pieces) if piece.startswith("{")), default=-1)
    return "".join(
        f"(?P<{piece[1:-1]}>[^/]+{'' if index == last else '?'})"
        if piece.startswith("{")
        else re.escape(piece)
        for index, piece in enumerate(pieces)
    )


class LayoutDetector:
    """Finds the template that fits most of the paths it is shown.

    Each path votes with the number of folders behind the first one that is named like a split
    (``Training``, ``val``). Where most paths have such a folder, one depth makes
    ``{split}/{name}``, ``{split}/{label}/{name}`` or ``{split}/{species}/{label}/{name}``, and
    several depths, or a greater one, the same with ``**`` behind the split. Otherwise the folder
    of a file is its label, unless all files lie in one and the same.
    """

    def __init__(self) -> None:
        self._depths: Counter[int] = Counter()
        self._others = 0
        self._in_folders = 0
        self._folders: set[str] = set()

    def see(self, paths: Iterable[str]) -> None:
        """Let each path vote."""
        for path in paths:
            *folders, _ = without_shards(path).split("/")
            split = next((i for i, name in enumerate(folders) if name.lower() in SPLIT_NAMES), None)
            if split is not None:
                self._depths[len(folders) - split - 1] += 1
            else:
                self._others += 1
                self._in_folders += bool(folders)
            if folders and len(self._folders) < 2:
                self._folders.add(folders[-1])

    def layout(self) -> Layout:
        """The winner; ``{name}`` where nothing was seen or no path says anything."""
        votes = self._depths.total()
        if votes and votes >= self._others:
            depths = [depth for depth, count in self._depths.items() if count > _STRAYS * votes]
            return Layout(_with_split(depths or list(self._depths)))
        labelled = 2 * self._in_folders > self._others and len(self._folders) > 1
        return Layout("{label}/{name}" if labelled else "{name}")


def _with_split(depths: list[int]) -> str:
    """The template for paths with this many folders behind their split."""
    least = min(depths)
    if len(depths) == 1 and least <= 2:
        return ("{split}/{name}", "{split}/{label}/{name}", "{split}/{species}/{label}/{name}")[
            least
        ]
    return "{split}/**/{species}/{label}/{name}" if least >= 2 else "{split}/**/{label}/{name}"
