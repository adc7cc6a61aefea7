"""What the report says, as plain values: ``report.json``, which ``docs/report.md`` describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pomona.errors import TableError
from pomona.ledger import SECONDS, newest_ledger
from pomona.reduction.saving import load_pca
from pomona.report.counts import Images, Rejects, count_images, count_rejects
from pomona.report.points import Points, pictured, read_points
from pomona.report.recogniser import recogniser_facts
from pomona.report.thumbnails import Asked
from pomona.schema import COMPONENTS_TABLE, ETAG, FEATURES_TABLE, PATH, REJECTS_TABLE
from pomona.storage import open_store
from pomona.storage.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from pomona.report.thumbnails import Pictures
    from pomona.storage import Location, Store

SCHEMA = "pomona.report/1"
"""Changes its number when a field goes or changes its meaning; new fields do not count."""
_REJECTS_SHOWN = 60
_PICTURED_POINTS = 1_500
_MOST_LABELS = 10_000
_COUNTS = ("listed", "embedded", "rejected", "unchanged", "unchanged_rejected", "gone", "pruned")
_RUN = (
    *("run", "status", "input", "output", "steps", "started", "ended", "layout", "network"),
    *("choices", "verdict", "skipped", "peak_bytes", "settings", "versions"),
)
_CLOCK = ("list", "choose", "start", "embed_wall", "reduce", "train", "evaluate")
_CORES = ("read", "decode", "embed", "write")


@dataclass(frozen=True)
class Gathered:
    """One OUTPUT, read for the report.

    Attributes:
        facts: as ``report.json`` has them, but for the pictures.
        images: counted.
        rejects: counted, with examples.
        points: of the map; None where nothing was reduced.
        spectrum: float64 [r], variances in falling order; empty where nothing was reduced.
        recogniser: what its templates need; None where there is no evaluation.
        featured: pictures for the galleries, the most important first.
        rejected: pictures of the rejects, as far as something of them can be seen.
        mapped: pictures for the map.
    """

    facts: dict[str, Any]
    images: Images
    rejects: Rejects
    points: Points | None
    spectrum: NDArray[np.float64]
    recogniser: dict[str, Any] | None
    featured: list[Asked]
    rejected: list[Asked]
    mapped: list[Asked]


def gather(output: Location, model: str, ledger: dict[str, Any] | None = None) -> Gathered:
    """Read what a run left.

    Args:
        output: where the tables are.
        model: rows of other models are not counted.
        ledger: of the run to tell of; by default the newest finished one.

    Raises:
        TableError: there is no features table, or a table is damaged.
    """
    store = open_store(output)
    told = ledger or newest_ledger(store, step="embed") or {}
    points = read_points(Table(output.join("components"), COMPONENTS_TABLE))
    rejects = count_rejects(Table(output.join("rejects"), REJECTS_TABLE), _REJECTS_SHOWN)
    recogniser = recogniser_facts(store)
    featured = [*_extremes(points), *_recogniser_paths(recogniser)]
    mapped = [] if points is None else pictured(points, _PICTURED_POINTS)
    images = count_images(
        Table(output.join("features"), FEATURES_TABLE), model, {*featured, *mapped}
    )
    spectrum, reduction = _reduction(store, points)
    facts = {
        "schema": SCHEMA,
        "run": {name: told.get(name) for name in _RUN},
        "model": model,
        "counts": {name: told.get(name, 0) for name in _COUNTS},
        "seconds": _seconds(told),
        "images": _images(images),
        "reduction": reduction,
        "map": _map(points, images.total),
        "recogniser": told.get("evaluation") or None,
        "rejects": {
            "total": rejects.by_reason.total(),
            "by_reason": dict(rejects.by_reason.most_common()),
            "examples": [
                {name: value for name, value in row.items() if name != ETAG}
                for row in rejects.examples
            ],
        },
    }
    return Gathered(
        facts=facts,
        images=images,
        rejects=rejects,
        points=points,
        spectrum=spectrum,
        recogniser=recogniser,
        featured=_asked(featured, images),
        rejected=[Asked(row[PATH], row[ETAG]) for row in rejects.examples],
        mapped=_asked(mapped, images),
    )


def told_of_pictures(pictures: Pictures) -> dict[str, Any]:
    """What ``report.json`` says of one collection of pictures."""
    return {
        "shown": len(pictures.places),
        "asked": pictures.asked,
        "side": pictures.side,
        "missing": dict(pictures.missing),
        "problem": pictures.problem,
    }


def _asked(paths: Iterable[str], images: Images) -> list[Asked]:
    return [Asked(path, images.etags[path]) for path in paths if path in images.etags]


def _extremes(points: Points | None) -> list[str]:
    axes = points.axes if points is not None else ()
    return [extreme.path for axis in axes for extreme in (*axis.low, *axis.high)]


def _recogniser_paths(found: dict[str, Any] | None) -> list[str]:
    """Paths that the recogniser's sections show with ``picture(path, text)``."""
    return [] if found is None else list(found.get("pictured", ()))


def _seconds(ledger: dict[str, Any]) -> dict[str, float]:
    """The ledger's seconds, and what of the total its stages do not cover."""
    known = ledger.get("seconds", {})
    seconds = {name: float(known.get(name, 0.0)) for name in SECONDS}
    rest = seconds["total"] - sum(seconds[name] for name in _CLOCK)
    return {
        **seconds,
        "rest": max(0.0, round(rest, 3)),
        "cores": round(sum(seconds[name] for name in _CORES), 3),
    }


def _images(images: Images) -> dict[str, Any]:
    labelled = images.labelled
    return {
        "total": images.total,
        "labels": len([label for label, _ in labelled if label]),
        "by_label": [
            {"label": label or None, "images": splits.total(), "splits": _named(splits)}
            for label, splits in labelled[:_MOST_LABELS]
        ],
        "by_split": _named(images.splits),
    }


def _named(splits: dict[str, int]) -> dict[str, int]:
    return {} if set(splits) <= {""} else {name: splits[name] for name in sorted(splits)}


def _reduction(
    store: Store, points: Points | None
) -> tuple[NDArray[np.float64], dict[str, Any] | None]:
    try:
        pca, manifest = load_pca(store, "models/pca/")
    except TableError:
        return np.empty(0), None
    total = float(pca.spectrum_.sum())
    shares = pca.spectrum_ / total
    axes = [
        {
            "share": float(share),
            "low": [extreme._asdict() for extreme in axis.low],
            "high": [extreme._asdict() for extreme in axis.high],
        }
        for share, axis in zip(shares, points.axes if points else (), strict=False)
    ]
    return pca.spectrum_, {
        "k": pca.k,
        "dimension": len(pca.mean_),
        "directions": len(pca.spectrum_),
        "explained_variance": float(pca.explained_variance_ratio_.sum()),
        "asked": manifest.get("asked"),
        "images": pca.n_samples_,
        "shares": [float(share) for share in shares[: pca.k]],
        "axes": axes,
    }


def _map(points: Points | None, images: int) -> dict[str, Any] | None:
    if points is None:
        return None
    found = points.neighbours()
    return {
        "rows": points.rows,
        "points": len(points.paths),
        "sampled": points.sampled,
        "outdated": points.rows != images,
        "same_label_next": None if found is None else found[0],
        "same_label_by_chance": None if found is None else found[1],
    }
