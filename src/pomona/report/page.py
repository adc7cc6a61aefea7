"""The report: one self-contained page, and the same facts as JSON beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from markupsafe import Markup

from pomona.report.facts import Gathered, gather, told_of_pictures
from pomona.report.figures import bars, scree, scree_rows, stacked
from pomona.report.points import encoded
from pomona.report.text import shown
from pomona.report.thumbnails import Pictures, read_pictures
from pomona.storage import Location, open_store

if TYPE_CHECKING:
    from pomona.report.points import Points

PAGE, FACTS = "report.html", "report.json"
LIMIT = 3_000_000
"""Bytes that a page stays under."""
_POINTS, _MAPPED, _FEATURED = 1_350_000, 850_000, 420_000
"""Characters of the page that may go into the map's points, its pictures, and those of the
galleries; what remains of the limit is for text."""
_LABELS_SHOWN = 200
_TOLD = {
    "list": "listing INPUT",
    "choose": "trying what runs the network fastest",
    "start": "waiting for Spark",
    "embed_wall": "embedding the images",
    "reduce": "principal components",
    "train": "training the classifier",
    "evaluate": "evaluating the classifier",
    "rest": "everything else",
}
_TASKS = {
    "read": "reading", "decode": "decoding", "embed": "the network", "write": "writing",
}  # fmt: skip


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
    featured = read_pictures(source, found.featured, name="f", side=96, budget=_FEATURED)
    mapped = read_pictures(source, found.mapped, name="m", side=64, budget=_MAPPED)
    found.facts["pictures"] = told_of_pictures([featured, mapped])
    page = render(output.name, found, featured, mapped).encode()
    store = open_store(output)
    store.write(FACTS, json.dumps(found.facts, indent=1).encode())
    store.write(PAGE, page)
    return output.join(PAGE)


def _source(found: Gathered, output: Location) -> Location | str:
    """INPUT of the run, spoken to as OUTPUT is where both are in a bucket."""
    text = str(found.facts["run"]["input"] or "")
    return Location.parse(text, output.options) if text else ""


def render(name: str, found: Gathered, featured: Pictures, mapped: Pictures) -> str:
    """The page.

    Args:
        name: of OUTPUT.
        found: what OUTPUT holds; how many points the map has is noted in its facts.
        featured: pictures of the galleries.
        mapped: pictures of the map.
    """
    facts, reduction = found.facts, found.facts["reduction"]
    drawn = _map(found, mapped)
    labels = found.images.labelled
    splits = list(facts["images"]["by_split"])
    script = _asset("map.js")
    return (
        environment()
        .get_template("page.html.j2")
        .render(
            output=name,
            facts=facts,
            run=facts["run"],
            policy=policy(script),
            style=_asset("style.css"),
            script=script,
            title=_title(facts),
            numbers=_numbers(facts),
            sections=_sections(found),
            featured=featured,
            mapped=mapped,
            picture=lambda *arguments: _picture(featured, *arguments),
            **drawn,
            labels_title=_labels_title(facts),
            label_bars=stacked(labels[:_LABELS_SHOWN], splits or [""], "images") if labels else "",
            labels_left=max(0, len(labels) - _LABELS_SHOWN),
            reduction=reduction,
            scree=scree(found.spectrum, reduction["k"]) if reduction else "",
            scree_rows=scree_rows(found.spectrum, reduction["k"]) if reduction else [],
            axes=reduction["axes"] if reduction else [],
            axes_title=_axes_title(reduction),
            recogniser=found.recogniser,
            rejects=found.rejects.examples,
            time_title=_time_title(facts),
            clock_bars=bars(
                [(told, facts["seconds"][name]) for name, told in _TOLD.items()], "seconds", 1
            ),
            core_bars=bars(
                [(told, facts["seconds"][name]) for name, told in _TASKS.items()],
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
        "map_title": _map_title(found.facts),
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


def _picture(pictures: Pictures, path: str, text: str, instead: str = "no picture") -> Markup:
    """A picture of the galleries, or words in its place."""
    found = pictures.show(path, shown(text))
    return found or Markup('<span class="pic none">{}</span>').format(instead)


def _title(facts: dict[str, Any]) -> str:
    images, labels = facts["images"]["total"], facts["images"]["labels"]
    title = _many(images, "image")
    if labels:
        title += f" of {_many(labels, 'label')}"
    if facts["reduction"]:
        reduction = facts["reduction"]
        title += f", described by {_many(reduction['k'], 'number')} each"
    return title


def _numbers(facts: dict[str, Any]) -> list[tuple[str, str, str]]:
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
    return [*found, ("time", _duration(seconds["total"]), speed)]


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


def _map_title(facts: dict[str, Any]) -> str:
    shares = facts["reduction"]["shares"]
    kept = f"Two axes show {sum(shares[:2]):.0%} of the variance"
    if len(shares) < 2:
        kept = f"One axis shows {sum(shares):.0%} of the variance"
    next_to = facts["map"]["same_label_next"]
    if next_to is None:
        return kept
    return f"{kept}, and on them {next_to:.0%} of the images lie next to one of their own label"


def _labels_title(facts: dict[str, Any]) -> str:
    images = facts["images"]
    rows = [row["images"] for row in images["by_label"] if row["label"]]
    if not rows:
        return "The images have no labels"
    title = f"{_many(images['labels'], 'label')}, "
    if len(rows) == 1:
        title += f"of {_many(rows[0], 'image')}"
    elif rows[0] == rows[-1]:
        title += f"each of {_many(rows[0], 'image')}"
    else:
        title += f"from {rows[-1]:,} to {_many(rows[0], 'image')}"
    splits = len(images["by_split"])
    return f"{title}, in {splits} splits" if splits > 1 else title


def _axes_title(reduction: dict[str, Any] | None) -> str:
    if not reduction or not reduction["axes"]:
        return ""
    first = reduction["axes"][0]
    low, high = (next((e["label"] for e in first[end]), "") for end in ("low", "high"))
    if low and high and low != high:
        return f"The strongest axis runs from {shown(low, 40)} to {shown(high, 40)}"
    return f"The strongest axis has {first['share']:.1%} of the variance"


def _time_title(facts: dict[str, Any]) -> str:
    seconds = facts["seconds"]
    if not seconds["total"]:
        return "How long it took is not known"
    longest = max(_TOLD, key=lambda name: seconds[name])
    share = seconds[longest] / seconds["total"]
    return f"{_TOLD[longest].capitalize()} took {share:.0%} of {_duration(seconds['total'])}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes:,} min" if minutes < 120 else f"{minutes / 60:,.1f} h"


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def policy(script: str = "") -> str:
    """What the page may do: nothing but its own style, pictures in it, and this one script."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'; " if script else ""
    return (
        f"default-src 'none'; {allowed}style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def in_script(data: Any) -> Markup:
    """JSON that may stand in a ``<script>`` element, whatever it contains."""
    text = json.dumps(data, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing in it ends the element


@cache
def _asset(name: str) -> Markup:
    text = files("pomona.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


@cache
def environment() -> jinja2.Environment:
    """The templates, with what they say numbers and names by."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("pomona.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["count"] = lambda value: f"{value:,}"
    found.filters["seconds"] = _duration
    found.filters["percent"] = lambda value: f"{value:.1%}"
    found.filters["mega"] = lambda value: f"{value / 1e6:,.0f} MB"
    found.filters["moment"] = lambda value: str(value).replace("T", " ").replace("Z", " UTC")
    found.filters["shown"] = shown
    return found
