"""What the commands of the chain have in common: settings in, a run, its summary out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pomona.cli.options import pairs
from pomona.cli.terminal import Watcher, print_json, reporting, result, say

if TYPE_CHECKING:
    from pomona.ledger import Ledger
    from pomona.pipeline import Step

TOO_MANY_REJECTS = 3


def run_steps(
    steps: tuple[Step, ...],
    source: str | None,
    output: str,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Run some steps of the chain and exit with the code that the outcome deserves.

    Args:
        steps: of the chain.
        source: INPUT, for steps that need it.
        output: OUTPUT.
        as_json: whether stdout gets one JSON object.
        quiet: whether stderr gets errors alone.
        verbose: whether errors come with their traceback.
        flags: settings by name; None where not given.
    """
    with reporting(verbose=verbose):
        from pomona.cli.masters import with_cluster
        from pomona.settings import load_settings
        from pomona.storage import Location

        flags["spark_conf"] = pairs(flags.get("spark_conf"))
        settings = with_cluster(load_settings(**flags))
        where = Location.parse(output, settings.storage)
    from pomona.pipeline import run_chain
    from pomona.workspace import open_workspace

    watcher = Watcher(quiet=quiet)
    with (
        open_workspace() as workspace,
        reporting(
            workspace.log,
            verbose=verbose,
            resume="What was committed stays; run the same command again to go on.",
        ),
    ):
        try:
            ledger = run_chain(where, steps, source, settings, workspace, watcher)
        finally:
            watcher.close()
    if as_json:
        print_json(summary(ledger))
    elif not quiet:
        tell(ledger)
    if not _allowed(ledger, settings.max_rejects):
        rejected = ledger.rejected + ledger.unchanged_rejected
        say(
            f"pomona: {rejected:,} of {ledger.listed:,} images were rejected, more than "
            f"--max-rejects {settings.max_rejects} allows."
        )
        say(f"  fix: see the table {where}/rejects, or the report, for which and why.")
        raise SystemExit(TOO_MANY_REJECTS)


def summary(ledger: Ledger) -> dict[str, Any]:
    """What ``--json`` prints."""
    facts = ledger.facts()
    names = (
        "run", "listed", "embedded", "rejected", "unchanged", "unchanged_rejected", "gone",
        "pruned", "components", "explained_variance", "classifier", "evaluation", "seconds",
        "output", "input", "model", "quote",
        "layout", "reasons", "skipped", "choices", "verdict", "tables", "peak_bytes", "status",
    )  # fmt: skip
    return {name: facts[name] for name in names}


def tell(ledger: Ledger) -> None:
    """What a person is told at the end."""
    if "embed" in ledger.steps:
        result(
            f"{ledger.listed:,} listed = {ledger.embedded:,} embedded + {ledger.rejected:,} "
            f"rejected + {ledger.unchanged:,} unchanged"
        )
        for reason, count in sorted(ledger.reasons.items(), key=lambda item: -item[1]):
            result(f"  rejected {count:,}: {reason.replace('_', ' ')}")
        if ledger.gone and not ledger.pruned:
            result(f"  {ledger.gone:,} rows are of images gone from INPUT (--prune removes them)")
        if ledger.embedded and ledger.seconds["embed_wall"]:
            rate = ledger.embedded / ledger.seconds["embed_wall"]
            result(
                f"embedded in {ledger.seconds['embed_wall']:.1f} s ({rate:,.0f} images/s); "
                f"{ledger.verdict}"
            )
    if ledger.components is not None and ledger.explained_variance is not None:
        result(
            f"{ledger.components} components keep {ledger.explained_variance:.1%} of the variance"
        )
    if ledger.evaluation:
        found = ledger.evaluation
        result(
            f"the classifier names {found['accuracy']['share']:.1%} of {found['images']:,} test "
            f"images rightly, of {found['classes']:,} classes"
        )
        if found["seen"]:
            result(
                f"  {found['seen']:,} of them it had seen in training, or nearly; see the report"
            )
    result(f"results in {ledger.output}, {ledger.seconds['total']:.1f} s in all")
    if ledger.quote:
        _tell_quote(ledger.quote)
    if "report" in ledger.steps:
        result(f"report: {ledger.output}/report.html")


def _tell_quote(told: dict[str, Any]) -> None:
    """What was predicted against what it came to."""
    if told["actual_to_quoted"] is None:
        result(
            f"the quote was for {told['images']:,} new images, not {told['actual_images']:,}: it "
            "says nothing of this run"
        )
    else:
        result(
            f"quoted {told['seconds']:,.0f} s, took {told['actual_seconds']:,.0f} s "
            f"({told['actual_to_quoted'] - 1:+.0%})"
        )
    if told["actual_eur"]:
        each = told["eur_per_1000_images"]
        per = f", {each:.4f} EUR per 1,000 images" if each is not None else ""
        result(f"the machines cost {told['actual_eur']:.3f} EUR meanwhile{per}, without tax")


def _allowed(ledger: Ledger, allowance: str) -> bool:
    from pomona.settings import parse_allowance

    count, share = parse_allowance(allowance)
    rejected = ledger.rejected + ledger.unchanged_rejected
    most = count if count is not None else (share or 0.0) * ledger.listed
    return rejected <= most
