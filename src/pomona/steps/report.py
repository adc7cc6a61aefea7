"""The step that draws ``report.html``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pomona.steps.reduce import model_of_output
from pomona.steps.shared import timed

if TYPE_CHECKING:
    from pomona.steps.shared import Run


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
