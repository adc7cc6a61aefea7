"""What the report says in words: titles that state what was found, durations, counts."""

from __future__ import annotations

from typing import Any

from pomona.report.text import shown

TOLD = {
    "list": "listing INPUT",
    "choose": "trying what runs the network fastest",
    "start": "waiting for Spark",
    "embed_wall": "embedding the images",
    "reduce": "principal components",
    "train": "training the classifier",
    "evaluate": "evaluating the classifier",
    "rest": "everything else",
}
TASKS = {
    "read": "reading", "decode": "decoding", "embed": "the network", "write": "writing",
}  # fmt: skip


def title(facts: dict[str, Any]) -> str:
    """What the run was about: the page's first line."""
    images, labels = facts["images"]["total"], facts["images"]["labels"]
    told = many(images, "image")
    if labels:
        told += f" of {many(labels, 'label')}"
    if facts["reduction"]:
        told += f", described by {many(facts['reduction']['k'], 'number')} each"
    return told


def numbers(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
    """The page's first figures: name, value, and a few words on it."""
    counts, seconds, reduction = facts["counts"], facts["seconds"], facts["reduction"]
    rate = counts["embedded"] / seconds["embed_wall"] if seconds["embed_wall"] else 0
    found = [
        ("embedded", f"{facts['images']['total']:,}", f"{counts['embedded']:,} in this run"),
        ("rejected", f"{facts['rejects']['total']:,}", f"of {counts['listed']:,} listed"),
    ]
    if reduction:
        kept = f"keep {reduction['explained_variance']:.1%} of the variance"
        found.append(("components", f"{reduction['k']:,}", kept))
    if facts["recogniser"]:
        accuracy = facts["recogniser"]["accuracy"]
        told = f"of {facts['recogniser']['images']:,} test images"
        found.append(("named rightly", f"{accuracy['share']:.1%}", told))
    speed = f"{rate:,.0f} images/s while embedding" if rate else ""
    return [*found, ("time", duration(seconds["total"]), speed)]


def map_title(facts: dict[str, Any]) -> str:
    """What the map shows: variance, and how well it parts the labels."""
    shares = facts["reduction"]["shares"]
    kept = f"Two axes show {sum(shares[:2]):.0%} of the variance"
    if len(shares) < 2:
        kept = f"One axis shows {sum(shares):.0%} of the variance"
    next_to = facts["map"]["same_label_next"]
    if next_to is None:
        return kept
    return f"{kept}, and on them {next_to:.0%} of the images lie next to one of their own label"


def labels_title(facts: dict[str, Any]) -> str:
    """How many images the labels have."""
    images = facts["images"]
    rows = [row["images"] for row in images["by_label"] if row["label"]]
    if not rows:
        return "The images have no labels"
    told = f"{many(images['labels'], 'label')}, "
    if len(rows) == 1:
        told += f"of {many(rows[0], 'image')}"
    elif rows[0] == rows[-1]:
        told += f"each of {many(rows[0], 'image')}"
    else:
        told += f"from {rows[-1]:,} to {many(rows[0], 'image')}"
    splits = len(images["by_split"])
    return f"{told}, in {splits} splits" if splits > 1 else told


def axes_title(reduction: dict[str, Any] | None) -> str:
    """What the strongest axis runs between; empty where nothing was reduced."""
    if not reduction or not reduction["axes"]:
        return ""
    first = reduction["axes"][0]
    low, high = (next((e["label"] for e in first[end]), "") for end in ("low", "high"))
    if low and high and low != high:
        return f"The strongest axis runs from {shown(low, 40)} to {shown(high, 40)}"
    return f"The strongest axis has {first['share']:.1%} of the variance"


def time_title(facts: dict[str, Any]) -> str:
    """Which stage took most of the time."""
    seconds = facts["seconds"]
    if not seconds["total"]:
        return "How long it took is not known"
    longest = max(TOLD, key=lambda name: seconds[name])
    share = seconds[longest] / seconds["total"]
    return f"{TOLD[longest].capitalize()} took {share:.0%} of {duration(seconds['total'])}"


def duration(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 120:
        return f"{seconds:,.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes:,} min" if 10 < minutes < 120 else _long(seconds)


def _long(seconds: float) -> str:
    if seconds < 3_600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{seconds / 3_600:,.1f} h"


def many(count: int, thing: str) -> str:
    """A count with its noun."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
