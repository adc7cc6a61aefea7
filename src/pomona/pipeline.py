"""The chain: the one module that knows the order of the steps.

list -> choose -> plan -> embed (commits) -> reduce -> train -> evaluate -> report
"""

from __future__ import annotations

import time
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Literal

from pomona.errors import PomonaError, UsageError
from pomona.ledger import Ledger, versions
from pomona.memory import own_peak
from pomona.steps.shared import Run
from pomona.storage import Location
from pomona.storage.lock import writing

if TYPE_CHECKING:
    from pomona.settings import Settings
    from pomona.steps.observer import Observer
    from pomona.workspace import Workspace

Step = Literal["embed", "reduce", "train", "evaluate", "report"]
WHOLE: tuple[Step, ...] = ("embed", "reduce", "train", "evaluate", "report")
"""The steps of ``pomona run``, in order."""


def run_chain(
    output: Location,
    steps: tuple[Step, ...],
    source: str | None,
    settings: Settings,
    workspace: Workspace,
    observer: Observer,
) -> Ledger:
    """Do some steps of the chain, in its order.

    Args:
        output: where the tables are, or will be.
        steps: which.
        source: INPUT; needed for ``embed`` alone.
        settings: in force.
        workspace: of this run.
        observer: told what happens.

    Returns:
        The ledger, as it was saved below OUTPUT.

    Raises:
        PomonaError: the ledger then says ``failed``; what was committed stays.
        KeyboardInterrupt: likewise, with ``interrupted``.
    """
    place = None
    if "embed" in steps:
        if source is None:
            raise UsageError("INPUT is missing.", "pomona embed INPUT OUTPUT")
        place = Location.parse(source, settings.storage)
        if place == output:
            raise UsageError(
                f"INPUT and OUTPUT are the same folder: {output}", "Choose another OUTPUT."
            )
    begin = time.perf_counter()
    ledger = Ledger(
        run=workspace.run,
        input=source or "",
        output=str(output),
        steps=list(steps),
        started=_now(),
        settings=settings.model_dump(mode="json"),
    )
    run = Run(output, settings, workspace, observer, ledger, place)
    with writing(output):
        try:
            _do(run, steps, source, begin)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            ledger.status = "interrupted" if interrupted else "failed"
            ledger.error = str(error) if isinstance(error, PomonaError) else repr(error)
            # Where OUTPUT's storage is what failed, that error is the one to tell.
            with suppress(PomonaError):
                _finish(run, begin)
            raise
        finally:
            run.stop_spark()
            with suppress(PomonaError) if ledger.status != "done" else nullcontext():
                _save(run, steps)
    return ledger


def _do(run: Run, steps: tuple[Step, ...], source: str | None, begin: float) -> None:
    from pomona.steps.embed import embed
    from pomona.steps.reduce import reduce
    from pomona.steps.report import report

    if source is not None and "embed" in steps:
        embed(run, source)
    if "reduce" in steps:
        reduce(run, required=steps != WHOLE)
    if "train" in steps or "evaluate" in steps:
        from pomona.steps.recognise import recognise

        recognise(run, steps, required=steps != WHOLE)
    run.ledger.status = "done"
    _finish(run, begin)
    if "report" in steps:
        report(run, required=steps == ("report",))
        run.ledger.seconds["total"] = time.perf_counter() - begin
        _compare(run)


def _compare(run: Run) -> None:
    told = run.settings.quote
    if told is not None:
        run.ledger.compare(told.images, told.seconds, told.eur_an_hour)


def _save(run: Run, steps: tuple[Step, ...]) -> None:
    if steps != ("report",) and run.features.exists():
        run.ledger.save(run.store)


def _finish(run: Run, begin: float) -> None:
    ledger = run.ledger
    ledger.ended = _now()
    ledger.seconds["total"] = time.perf_counter() - begin
    _compare(run)
    ledger.peak_bytes["driver"] = own_peak()
    ledger.versions = versions(str(run.java or "not started"))
    for table in (run.features, run.rejects, run.components):
        if table.exists():
            ledger.tables[table.location.name] = table.version


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
