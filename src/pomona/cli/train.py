"""``pomona train``: features to a classifier."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("train")(train_classifier)


@o.takes(o.RECOGNISER, o.NETWORK, o.SPARK)
def train_classifier(
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Train a classifier on the features of OUTPUT."""
    from pomona.cli.chain import run_steps

    run_steps(
        ("train",),
        None,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
