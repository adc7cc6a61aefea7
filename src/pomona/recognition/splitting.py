"""Which images train, validate and test, so that nothing is tested on what it was trained on.

Never at random. In order of preference: the split that INPUT has (`Training`, `Test`); groups,
kept whole, where a label has several; runs of frames. A filmed fruit turns before the camera and
neighbouring numbers are neighbouring frames, so of each run a contiguous block is held out and the
frames beside it are used by nobody. Only images whose names hold no number are dealt out one by
one, by a hash of their path.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

HELD_OUT = 0.15
"""Share of the images, of each label, that validates; and that tests where INPUT has no split."""
MARGIN = 4
"""Frames left unused on each side of a block; fewer in runs of less than 48 frames."""
_SHORT = 8
"""A run of fewer frames is not cut, but goes to one side as a whole."""

TEST_NAMES = frozenset(["test", "testing", "holdout", "eval"])
VALIDATION_NAMES = frozenset(["val", "valid", "validation", "dev"])

# `r_12_100`, `3_r_12_100`, `IMG_0012`, `Golden-Delicious_001`: a prefix and the frame's number.
_FRAME = re.compile(r"((?:[A-Za-z]*\d{0,3}[_ -])*[A-Za-z]*)(\d{1,6})")
_SIDE = "_100"
"""Ends the names of Fruits-360: the side in pixels, not a frame."""


class Role(IntEnum):
    """What an image is used for."""

    TRAIN = 0
    VALIDATE = 1
    TEST = 2
    UNUSED = 3


class RunKey(NamedTuple):
    """A run: images of one label and group whose names differ in the last number alone."""

    label: str
    group: str
    prefix: str


class Span(NamedTuple):
    """Lowest and highest frame of a run, and its number of images."""

    low: int
    high: int
    images: int


def frame_of(path: str) -> tuple[str, int] | None:
    """The run's prefix and the frame's number in a path's last segment; None where it has none."""
    stem = path.rsplit("/", 1)[-1].rpartition(".")[0].removesuffix(_SIDE)
    match = _FRAME.fullmatch(stem)
    return (match[1], int(match[2])) if match else None


@dataclass
class Survey:
    """What the paths, labels, splits and groups of some images say; mergeable, and small.

    Attributes:
        splits: images by the name of their split, in lower case; labelled ones alone.
        labels: images by (split, label).
        groups: images by (split, label, group).
        runs: spans by split and run.
    """

    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    runs: dict[tuple[str, RunKey], Span] = field(default_factory=dict)

    def see(
        self,
        paths: Iterable[str],
        labels: Iterable[str | None],
        splits: Iterable[str | None],
        groups: Iterable[str | None],
    ) -> Survey:
        """Take note of images; those without a label do not count."""
        for path, label, split_name, group_name in zip(paths, labels, splits, groups, strict=True):
            if label is None:
                continue
            split, group = (split_name or "").lower(), group_name or ""
            self.splits[split] += 1
            self.labels[split, label] += 1
            self.groups[split, label, group] += 1
            frame = frame_of(path)
            if frame is not None:
                key = split, RunKey(label, group, frame[0])
                self._widen(key, Span(frame[1], frame[1], 1))
        return self

    def merge(self, other: Survey) -> Survey:
        """The survey of both sets of images."""
        merged = Survey(
            self.splits + other.splits,
            self.labels + other.labels,
            self.groups + other.groups,
            dict(self.runs),
        )
        for key, span in other.runs.items():
            merged._widen(key, span)
        return merged

    def _widen(self, key: tuple[str, RunKey], span: Span) -> None:
        known = self.runs.get(key)
        if known is not None:
            low, high = min(known.low, span.low), max(known.high, span.high)
            span = Span(low, high, known.images + span.images)
        self.runs[key] = span


@dataclass(frozen=True)
class _Block:
    """Frames of a run that are held out: ``start`` and ``length``, on the circle of a turn."""

    start: int
    length: int
    role: Role


@dataclass(frozen=True)
class Split:
    """Gives every image its role; small and picklable, so that workers decide by themselves.

    Attributes:
        roles_of_splits: by lower-case name of a split that INPUT has.
        roles_of_groups: of groups that are held out whole.
        roles_of_runs: of short runs that are held out whole.
        blocks: of the other runs.
        spans: of those runs.
        shares: of images whose names have no number: share that validates, share that tests.
        grouped: labels that are split by group.
        how: one sentence for people.
    """

    roles_of_splits: dict[str, Role]
    roles_of_groups: dict[str, Role]
    roles_of_runs: dict[RunKey, Role]
    blocks: dict[RunKey, tuple[_Block, ...]]
    spans: dict[RunKey, Span]
    shares: tuple[float, float]
    grouped: frozenset[str]
    how: str

    def roles(
        self,
        paths: Sequence[str],
        labels: Sequence[str | None],
        splits: Sequence[str | None],
        groups: Sequence[str | None],
    ) -> NDArray[np.int8]:
        """The role of each image; unlabelled ones are unused.

        Returns:
            int8 [n], values of :class:`Role`.
        """
        found = [
            Role.UNUSED if label is None else self._role(path, label, split or "", group or "")
            for path, label, split, group in zip(paths, labels, splits, groups, strict=True)
        ]
        return np.array(found, np.int8)

    def _role(self, path: str, label: str, split: str, group: str) -> Role:
        given = self.roles_of_splits.get(split.lower(), Role.TRAIN)
        if given != Role.TRAIN:
            return given
        if label in self.grouped:
            return self.roles_of_groups.get(group, Role.TRAIN)
        frame = frame_of(path)
        if frame is None:
            return self._by_hash(path)
        key = RunKey(label, group, frame[0])
        blocks = self.blocks.get(key)
        if blocks is None:
            return self.roles_of_runs.get(key, Role.TRAIN)
        return _role_of_frame(frame[1], self.spans[key], blocks)

    def _by_hash(self, path: str) -> Role:
        validate, test = self.shares
        at = _fraction(path)
        if at < validate:
            return Role.VALIDATE
        return Role.TEST if at < validate + test else Role.TRAIN


def plan_split(survey: Survey, *, seed: int = 0, test: bool = True) -> Split:
    """Decide how to split.

    Where INPUT has a test split, that tests and a part of the rest validates; where it has a
    validation split beside it, that validates. A validation split alone is taken for the test:
    what chose the threshold must not be what reports the accuracy.

    Args:
        survey: of all images of the model.
        seed: decides where blocks begin and which groups are held out.
        test: whether a test is held out where INPUT has no test split.
    """
    named = _named_roles(survey.splits)
    has_test = Role.TEST in named.values()
    has_validation = Role.VALIDATE in named.values()
    shares = (0.0 if has_validation else HELD_OUT, 0.0 if has_test or not test else HELD_OUT)
    wanted = [(Role.VALIDATE, shares[0]), (Role.TEST, shares[1])]
    wanted = [(role, share) for role, share in wanted if share]

    counts: Counter[tuple[str, str]] = Counter()
    for (split, label, group), count in survey.groups.items():
        if named.get(split, Role.TRAIN) == Role.TRAIN:
            counts[label, group] += count
    groups_of = _groups_of(counts)
    grouped = {label for label, groups in groups_of.items() if len(groups) > len(wanted)}
    roles_of_groups = _deal_groups(counts, groups_of, grouped, wanted, seed)

    spans = _joined_runs(survey, named, grouped)
    blocks: dict[RunKey, tuple[_Block, ...]] = {}
    short: dict[str, list[RunKey]] = {}
    for key, span in spans.items():
        if span.images >= _SHORT:
            blocks[key] = _cut(key, span, wanted, seed)
        else:
            short.setdefault(key.label, []).append(key)
    roles_of_runs: dict[RunKey, Role] = {}
    for keys in short.values():
        roles_of_runs |= _deal_runs(keys, spans, wanted, seed)
    parts = []
    if named:
        parts.append("the split of INPUT (" + ", ".join(sorted(named)) + ")")
    if wanted and grouped:
        parts.append(f"whole groups held out for {len(grouped)} labels")
    if wanted and spans:
        parts.append(f"contiguous blocks held out of {len(blocks):,} runs of frames")
    if wanted and not spans and not grouped:
        parts.append("images dealt out by their path, since names hold no numbers")
    return Split(
        roles_of_splits=named,
        roles_of_groups=roles_of_groups,
        roles_of_runs=roles_of_runs,
        blocks=blocks,
        spans={key: spans[key] for key in blocks},
        shares=shares,
        grouped=frozenset(grouped),
        how="; ".join(parts) or "all images train",
    )


def _named_roles(splits: Counter[str]) -> dict[str, Role]:
    tests = {name for name in splits if name in TEST_NAMES}
    validations = {name for name in splits if name in VALIDATION_NAMES}
    if len(tests) + len(validations) == len(splits):
        return {}  # there would be nothing to train on
    if not tests:
        return dict.fromkeys(validations, Role.TEST)
    return dict.fromkeys(tests, Role.TEST) | dict.fromkeys(validations, Role.VALIDATE)


def _groups_of(counts: Counter[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for label, group in counts:
        found.setdefault(label, set()).add(group)
    return found


def _deal_groups(
    counts: Counter[tuple[str, str]],
    groups_of: dict[str, set[str]],
    grouped: set[str],
    wanted: list[tuple[Role, float]],
    seed: int,
) -> dict[str, Role]:
    """Whole groups to each role, until each label has its share; every label keeps one to train."""
    totals: Counter[str] = Counter()
    labels_of: dict[str, list[str]] = {}
    for (label, group), count in counts.items():
        if label in grouped:
            totals[label] += count
            labels_of.setdefault(group, []).append(label)
    training = {label: len(groups_of[label]) for label in grouped}
    reached: Counter[tuple[str, Role]] = Counter()
    roles: dict[str, Role] = {}
    for group in sorted(labels_of, key=lambda name: _fraction(f"{seed}/{name}")):
        labels = labels_of[group]
        if any(training[label] == 1 for label in labels):
            continue
        for role, share in wanted:
            if all(reached[label, role] < share * totals[label] for label in labels):
                roles[group] = role
                for label in labels:
                    training[label] -= 1
                    reached[label, role] += counts[label, group]
                break
    return roles


def _joined_runs(survey: Survey, named: dict[str, Role], grouped: set[str]) -> dict[RunKey, Span]:
    """Runs of the images that train so far, over all splits that do."""
    joined = Survey()
    for (split, key), span in survey.runs.items():
        if named.get(split, Role.TRAIN) == Role.TRAIN and key.label not in grouped:
            joined._widen(("", key), span)
    return {key: span for (_, key), span in joined.runs.items()}


def _cut(
    key: RunKey, span: Span, wanted: list[tuple[Role, float]], seed: int
) -> tuple[_Block, ...]:
    """Blocks on the circle of frames, opposite one another where there are two."""
    around = span.high - span.low + 1
    first = int(_fraction(f"{seed}/{'/'.join(key)}") * around)
    return tuple(
        _Block((first + index * around // len(wanted)) % around, round(share * around), role)
        for index, (role, share) in enumerate(wanted)
    )


def _role_of_frame(frame: int, span: Span, blocks: tuple[_Block, ...]) -> Role:
    around = span.high - span.low + 1
    margin = min(MARGIN, around // 12)
    beside = False
    for block in blocks:
        past = (frame - span.low - block.start) % around
        if past < block.length:
            return block.role
        # The last frame of a turn is next to the first.
        beside |= past < block.length + margin or past >= around - margin
    return Role.UNUSED if beside else Role.TRAIN


def _deal_runs(
    keys: list[RunKey], spans: dict[RunKey, Span], wanted: list[tuple[Role, float]], seed: int
) -> dict[RunKey, Role]:
    """Short runs of one label, whole, until each role has its share; at least one trains."""
    total = sum(spans[key].images for key in keys)
    reached: Counter[Role] = Counter()
    roles: dict[RunKey, Role] = {}
    order = sorted(keys, key=lambda key: _fraction(f"{seed}/{'/'.join(key)}"))
    for key in order[:-1]:
        for role, share in wanted:
            if reached[role] < share * total:
                roles[key] = role
                reached[role] += spans[key].images
                break
    return roles


def _fraction(text: str) -> float:
    """A number in [0, 1) that the text decides, the same on every machine."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
