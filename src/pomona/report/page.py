"""The report: one self-contained page, drawn from the tables and the newest ledger."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np

from pomona.errors import TableError
from pomona.ledger import SECONDS, newest_ledger
from pomona.reduction.saving import load_pca
from pomona.report.figures import bars, scree
from pomona.report.recogniser import recogniser_facts
from pomona.schema import FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import Location, Store, open_store
from pomona.storage.table import Table

if TYPE_CHECKING:
    from numpy.typing import NDArray

PAGE = "report.html"
_LABELS_SHOWN = 200
_REJECTS_SHOWN = 200


def write_report(output: Location, model: str, ledger: dict[str, Any] | None = None) -> Location:
    """Write ``report.html`` below OUTPUT.

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
    store = open_store(output)
    told = ledger or newest_ledger(store, step="embed") or {}
    page = _environment().get_template("page.html.j2").render(_facts(output, store, model, told))
    store.write(PAGE, page.encode())
    return output.join(PAGE)


def _facts(output: Location, store: Store, model: str, ledger: dict[str, Any]) -> dict[str, Any]:
    labels, splits = _count(Table(output.join("features"), FEATURES_TABLE), model)
    rejects, reasons = _rejects(Table(output.join("rejects"), REJECTS_TABLE))
    spectrum, k, share = _spectrum(store)
    seconds = {name: ledger.get("seconds", {}).get(name, 0.0) for name in SECONDS}
    return {
        "output": output.name,
        "ledger": ledger,
        "model": model,
        "images": sum(splits.values()),
        "labels": labels.most_common(_LABELS_SHOWN),
        "labels_left": max(0, len(labels) - _LABELS_SHOWN),
        "label_count": len(labels),
        "splits": sorted(splits.items()),
        "recogniser": recogniser_facts(store),
        "rejects": rejects,
        "reject_count": sum(reasons.values()),
        "reasons": reasons.most_common(),
        "k": k,
        "share": share,
        "dimension": ledger.get("network", {}).get("dimension"),
        "scree": scree(spectrum, k) if spectrum is not None else "",
        "label_bars": bars(labels.most_common(_LABELS_SHOWN), "images"),
        "seconds": seconds,
        "time_bars": bars(
            [(n, seconds[n]) for n in ("read", "decode", "embed", "write")], "core-seconds", 1
        ),
    }


def _count(features: Table, model: str) -> tuple[Counter[str], Counter[str]]:
    """Images by label and by split; an image without either counts under an empty name."""
    labels: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    for rows in features.batches(["label", "split", "model"]):
        for counter, name in ((labels, "label"), (splits, "split")):
            mine = rows.filter(np.asarray(rows["model"]) == model)
            for pair in mine[name].value_counts().to_pylist():
                counter[pair["values"] or ""] += pair["counts"]
    if set(labels) == {""}:
        labels.clear()
    return labels, splits


def _rejects(table: Table) -> tuple[list[dict[str, Any]], Counter[str]]:
    shown: list[dict[str, Any]] = []
    reasons: Counter[str] = Counter()
    if table.exists():
        for rows in table.batches(["path", "stage", "reason", "message"]):
            reasons.update(rows["reason"].to_pylist())
            shown += rows.slice(0, _REJECTS_SHOWN - len(shown)).to_pylist()
    return sorted(shown, key=lambda row: (row["reason"], row["path"])), reasons


def _spectrum(store: Store) -> tuple[NDArray[np.float64] | None, int, float]:
    try:
        pca, _ = load_pca(store, "models/pca/")
    except TableError:
        return None, 0, 0.0
    return pca.spectrum_, pca.k, float(pca.explained_variance_ratio_.sum())


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pomona.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.filters["seconds"] = lambda value: f"{value:,.1f} s"
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    return environment
