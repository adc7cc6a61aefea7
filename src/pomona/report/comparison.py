"""Two runs side by side: ``comparison.html`` and ``comparison.json`` below the newer one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pomona.report.changes import image_changes, reject_changes
from pomona.report.facts import gather
from pomona.report.figures import scree_pair
from pomona.report.templating import asset, environment, policy
from pomona.report.text import shown
from pomona.report.wording import TOLD, many
from pomona.storage import open_store

if TYPE_CHECKING:
    from pomona.report.facts import Gathered
    from pomona.storage import Location

PAGE, FACTS = "comparison.html", "comparison.json"
SCHEMA = "pomona.comparison/1"
_LABELS_SHOWN = 200


def write_comparison(
    before: tuple[Location, str], after: tuple[Location, str]
) -> tuple[Location, dict[str, Any]]:
    """Write the page and its facts below the second OUTPUT.

    Args:
        before: OUTPUT that is compared with, and the model whose rows count.
        after: the other one; the page goes there.

    Returns:
        The page's location, and the facts.

    Raises:
        TableError: one of them has no features table.
        StorageError: the page cannot be written.
    """
    both = gather(*before), gather(*after)
    facts = _facts(before, after, *both)
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            facts=facts,
            policy=policy(),
            style=asset("style.css"),
            title=_title(facts),
            rows=[(row["name"], *_told(row)) for row in facts["numbers"]],
            labels=facts["labels"][:_LABELS_SHOWN],
            labels_left=max(0, len(facts["labels"]) - _LABELS_SHOWN),
            curve=_curve(both, facts),
        )
    )
    store = open_store(after[0])
    store.write(FACTS, json.dumps(facts, indent=1).encode())
    store.write(PAGE, page.encode())
    return after[0].join(PAGE), facts


def _facts(
    before: tuple[Location, str], after: tuple[Location, str], one: Gathered, other: Gathered
) -> dict[str, Any]:
    runs = [found.facts["run"] for found in (one, other)]
    return {
        "schema": SCHEMA,
        "before": _side(before[0], one),
        "after": _side(after[0], other),
        "numbers": [
            {"name": name, "unit": unit, "before": was, "after": now}
            for (name, unit, was), (_, _, now) in zip(_numbers(one), _numbers(other), strict=True)
        ],
        "images": image_changes(before, after),
        "labels": _labels(one, other),
        "rejects": reject_changes(before[0], after[0]),
        "settings": _differences(*(run.get("settings") or {} for run in runs)),
        "versions": _differences(*(run.get("versions") or {} for run in runs)),
    }


def _side(output: Location, found: Gathered) -> dict[str, Any]:
    run = found.facts["run"]
    return {
        "output": str(output),
        "run": run["run"],
        "input": run["input"],
        "ended": run["ended"],
        "model": found.facts["model"],
    }


def _numbers(found: Gathered) -> list[tuple[str, str, float | None]]:
    """Name, unit and value of what is compared."""
    facts = found.facts
    reduction, recogniser, seconds = facts["reduction"], facts["recogniser"], facts["seconds"]
    wall = seconds["embed_wall"]
    rate = facts["counts"]["embedded"] / wall if wall else None
    return [
        ("images embedded", "", facts["images"]["total"]),
        ("labels", "", facts["images"]["labels"]),
        ("images rejected", "", facts["rejects"]["total"]),
        ("features an image", "", reduction["dimension"] if reduction else None),
        ("components", "", reduction["k"] if reduction else None),
        ("variance kept", "share", reduction["explained_variance"] if reduction else None),
        ("variance on two axes", "share", sum(reduction["shares"][:2]) if reduction else None),
        ("next to their own label on the map", "share",
         facts["map"]["same_label_next"] if facts["map"] else None),
        ("named rightly", "share", recogniser["accuracy"]["share"] if recogniser else None),
        ("images a second while embedding", "", rate),
        *((told, "seconds", seconds[name]) for name, told in TOLD.items()),
        ("all of it", "seconds", seconds["total"]),
    ]  # fmt: skip


def _told(row: dict[str, Any]) -> tuple[str, str, str]:
    """Before, after and difference, as text."""
    was, now = row["before"], row["after"]

    def number(value: float | None, signed: str = "") -> str:
        if value is None:
            return "–"
        if row["unit"] == "share":
            return f"{100 * value:{signed}.1f} {'points' if signed else '%'}"
        digits = 1 if row["unit"] == "seconds" or isinstance(value, float) else 0
        return f"{value:{signed},.{digits}f}{' s' if row['unit'] == 'seconds' else ''}"

    if was is None or now is None:
        return number(was), number(now), ""
    return number(was), number(now), "same" if was == now else number(now - was, "+")


def _labels(one: Gathered, other: Gathered) -> list[dict[str, Any]]:
    """Labels whose number of images differs, the largest difference first."""
    was, now = (
        {label: splits.total() for label, splits in found.images.labelled} for found in (one, other)
    )
    rows = [
        {"label": label or None, "before": was.get(label, 0), "after": now.get(label, 0)}
        for label in was.keys() | now.keys()
        if was.get(label, 0) != now.get(label, 0)
    ]
    return sorted(rows, key=lambda row: (-abs(row["after"] - row["before"]), row["label"] or ""))


def _differences(was: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "before": was.get(name), "after": now.get(name)}
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def _curve(both: tuple[Gathered, Gathered], facts: dict[str, Any]) -> str:
    if not all(found.spectrum.size for found in both):
        return ""
    chosen = [found.facts["reduction"]["k"] for found in both]
    return scree_pair([found.spectrum for found in both], chosen)


def _title(facts: dict[str, Any]) -> str:
    images = facts["images"]
    changed = [
        (images["came"]["count"], "came"),
        (images["went"]["count"], "went"),
        (images["new_version"]["count"], "changed"),
        (images["relabelled"]["count"], "changed label"),
    ]
    told = [f"{count:,} {what}" for count, what in changed if count]
    if not told:
        return f"The same {many(images['same']['count'], 'image')} in both runs"
    stayed = images["same"]["count"]
    same = f"{many(stayed, 'image') if stayed else 'none'} stayed the same"
    return f"{', '.join(told[:-1])}{' and ' if told[1:] else ''}{told[-1]}; {same}"


def summary(facts: dict[str, Any]) -> list[str]:
    """A few lines for a terminal."""
    lines = [_title(facts)]
    for row in facts["numbers"]:
        was, now, difference = _told(row)
        if difference != "same" and (row["before"], row["after"]) != (None, None):
            lines.append(f"  {row['name']}: {was} -> {now}")
    lines += [
        f"  setting {row['name']}: {shown(str(row['before']))} -> {shown(str(row['after']))}"
        for row in facts["settings"]
    ]
    return lines
