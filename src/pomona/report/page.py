"""The report: one self-contained page, and the same facts as JSON beside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from pomona.report.facts import Gathered, gather, told_of_pictures
from pomona.report.figures import bars, scree, scree_rows, stacked
from pomona.report.points import encoded
from pomona.report.templating import asset, environment, in_script, policy
from pomona.report.text import shown
from pomona.report.thumbnails import Pictures, read_pictures
from pomona.report.wording import (
    TASKS,
    TOLD,
    axes_title,
    labels_title,
    map_title,
    numbers,
    time_title,
    title,
)
from pomona.storage import Location, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pomona.report.points import Points

PAGE, FACTS = "report.html", "report.json"
LIMIT = 3_000_000
"""Bytes that a page stays under."""
_POINTS, _MAPPED, _FEATURED, _REJECTED = 1_350_000, 850_000, 340_000, 80_000
"""Characters of the page that may go into the map's points, its pictures, those of the galleries
and of the rejects; what remains of the limit is for text."""
_LABELS_SHOWN = 200


def write_report(output: Location, model: str, ledger: dict[str, Any] | None = None) -> Location:
    """Write ``report.html`` and ``report.json`` below OUTPUT.

    Pictures are read from INPUT as far as it is still there and may be read.

    Args:
        output: where the tables are.
        model: rows of other models are not counted.
        ledger: of the run that the page tells of; by default the newest finished one.

    Returns:
        The page's location.

    Raises:
        TableError: there is no features table.
        StorageError: the page cannot be written.
    """
    found = gather(output, model, ledger)
    source = _source(found, output)
    pictures = {
        "galleries": read_pictures(source, found.featured, name="f", side=96, budget=_FEATURED),
        "rejects": read_pictures(source, found.rejected, name="r", side=96, budget=_REJECTED),
        "map": read_pictures(source, found.mapped, name="m", side=64, budget=_MAPPED),
    }
    found.facts["pictures"] = {name: told_of_pictures(some) for name, some in pictures.items()}
    page = render(output.name, found, pictures).encode()
    store = open_store(output)
    store.write(FACTS, json.dumps(found.facts, indent=1).encode())
    store.write(PAGE, page)
    return output.join(PAGE)


def _source(found: Gathered, output: Location) -> Location | str:
    """INPUT of the run, spoken to as OUTPUT is where both are in a bucket."""
    text = str(found.facts["run"]["input"] or "")
    return Location.parse(text, output.options) if text else ""


def render(name: str, found: Gathered, pictures: Mapping[str, Pictures]) -> str:
    """The page.

    Args:
        name: of OUTPUT.
        found: what OUTPUT holds; how many points the map has is noted in its facts.
        pictures: ``galleries``, ``rejects`` and ``map``.
    """
    featured, rejected, mapped = (pictures[use] for use in ("galleries", "rejects", "map"))
    facts, reduction = found.facts, found.facts["reduction"]
    drawn = _map(found, mapped)
    labels = found.images.labelled
    splits = list(facts["images"]["by_split"])
    script = asset("map.js")
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            output=name,
            facts=facts,
            run=facts["run"],
            policy=policy(script),
            style=asset("style.css"),
            script=script,
            title=title(facts),
            numbers=numbers(facts),
            sections=_sections(found),
            featured=featured,
            mapped=mapped,
            rejected=rejected,
            picture=lambda path, text: _picture(featured, path, text),
            reject_picture=lambda path: _picture(rejected, path, "what can be seen of it"),
            **drawn,
            labels_title=labels_title(facts),
            label_bars=stacked(labels[:_LABELS_SHOWN], splits or [""], "images") if labels else "",
            labels_left=max(0, len(labels) - _LABELS_SHOWN),
            reduction=reduction,
            scree=scree(found.spectrum, reduction["k"]) if reduction else "",
            scree_rows=scree_rows(found.spectrum, reduction["k"]) if reduction else [],
            axes=reduction["axes"] if reduction else [],
            axes_title=axes_title(reduction),
            recogniser=found.recogniser,
            rejects=found.rejects.examples,
            time_title=time_title(facts),
            clock_bars=bars(
                [(told, facts["seconds"][name]) for name, told in TOLD.items()], "seconds", 1
            ),
            core_bars=bars(
                [(told, facts["seconds"][name]) for name, told in TASKS.items()],
                "core-seconds",
                1,
            ),
        )
    )


def _map(found: Gathered, mapped: Pictures) -> dict[str, Any]:
    """What the template needs for the map."""
    if found.points is None or found.facts["reduction"] is None:
        return {"map": None}
    shares = found.facts["reduction"]["shares"]
    data, points = encoded(found.points, shares, _POINTS)
    found.facts["map"] |= {"points": data["count"], "sampled": points.sampled}
    index = {path: place for place, path in enumerate(points.paths)}
    data["side"] = mapped.side
    data["pictures"] = [
        [index[path], *place] for path, place in mapped.places.items() if path in index
    ]
    both = set(data["labels"]) != {""} and set(data["splits"]) != {""}
    data["kind"] = "split" if set(data["labels"]) == {""} != set(data["splits"]) else "label"
    return {
        "map": data,
        "map_json": in_script(data),
        "map_rows": _map_rows(points, data["kind"]),
        "map_title": map_title(found.facts),
        "kinds": len(data[f"{data['kind']}s"]),
        "both_kinds": both,
    }


def _map_rows(points: Points, kind: str) -> list[dict[str, Any]]:
    """Where each label lies: its number of points, and what half of them lie between."""
    names = np.asarray(points.labels if kind == "label" else points.splits, dtype=object)
    distinct, codes, counts = np.unique(names.astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(codes, kind="stable")
    groups = np.split(points.values[order, :2], np.cumsum(counts)[:-1])
    rows = [
        {
            "name": str(name),
            "count": len(group),
            "spans": np.quantile(group, [0.25, 0.75], axis=0).T.tolist(),
        }
        for name, group in zip(distinct, groups, strict=True)
    ]
    rows.sort(key=lambda row: -row["count"])
    return rows[:_LABELS_SHOWN]


def _picture(pictures: Pictures, path: str, text: str) -> Markup:
    """A picture of the galleries, or words in its place."""
    found = pictures.show(path, shown(text))
    return found or Markup('<span class="pic none">no picture</span>')


def _sections(found: Gathered) -> list[tuple[str, str]]:
    reduction = found.facts["reduction"]
    wanted = [
        ("map", "Map", True),
        ("images", "Labels", True),
        ("variance", "Variance", reduction),
        ("axes", "Axes", reduction and reduction["axes"]),
        ("recogniser", "Recogniser", found.recogniser),
        ("rejects", "Rejects", True),
        ("time", "Time", True),
        ("ran", "What ran", True),
    ]
    return [(place, name) for place, name, there in wanted if there]
