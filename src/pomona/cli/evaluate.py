"""``pomona evaluate``: how good the classifier is."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate_classifier)


@o.takes(o.SPARK)
def evaluate_classifier(
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Find out how good the classifier of OUTPUT is on images it has not seen."""
    from pomona.cli.chain import run_steps

    run_steps(
        ("evaluate",),
        None,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
