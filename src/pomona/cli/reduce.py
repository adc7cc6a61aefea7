"""``pomona reduce``: features to components."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reduce")(reduce_features)


@o.takes(o.REDUCTION, o.SPARK, o.STORAGE)
def reduce_features(
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Reduce the features of OUTPUT to their principal components."""
    from pomona.cli.chain import run_steps

    run_steps(
        ("reduce",),
        None,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
