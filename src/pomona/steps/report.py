"""The step that draws ``report.html``, and the comparison of two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pomona.ledger import present_model
from pomona.schema import FEATURES_TABLE
from pomona.steps.reduce import model_of_output
from pomona.steps.shared import timed
from pomona.storage import open_store
from pomona.storage.table import Table

if TYPE_CHECKING:
    from pomona.steps.shared import Run
    from pomona.storage import Location


def report(run: Run, *, required: bool) -> None:
    """Write the page, where it would say something new.

    Args:
        run: this one.
        required: whether it is written in any case.
    """
    from pomona.report.page import PAGE, write_report

    ledger = run.ledger
    new = any(ledger.seconds[stage] > 0 for stage in ("reduce", "train", "evaluate"))
    if not (required or ledger.changed or new or not run.store.exists(PAGE)):
        return
    run.observer.stage("report")
    told = ledger.facts() if "embed" in ledger.steps else None
    with timed(ledger, "report"):
        write_report(run.output, ledger.model or model_of_output(run), told)


def compare(before: Location, after: Location) -> tuple[Location, dict[str, Any]]:
    """Put two OUTPUT folders side by side, on a page below the second one.

    Returns:
        The page's location, and its facts.

    Raises:
        TableError: one of them has no features, or those of several models.
        StorageError: the page cannot be written.
    """
    from pomona.report.comparison import write_comparison

    both = [(output, _model_of(output)) for output in (before, after)]
    return write_comparison(both[0], both[1])


def _model_of(output: Location) -> str:
    table = Table(output.join("features"), FEATURES_TABLE)
    return present_model(open_store(output), table.distinct("model"))
