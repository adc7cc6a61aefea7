"""``pomona run``: the whole chain."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run_chain)


@o.takes(o.NETWORK, o.REDUCTION, o.RECOGNISER, o.IMAGES, o.SPARK, o.SIZES, o.STORAGE)
def run_chain(
    source: o.Input,
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Embed the images of INPUT, reduce their features, train and evaluate, and write a report.

    A classifier is trained where the images have at least two labels.

    Run it again after new images arrived, or after it was stopped: only what is new is done.
    """
    from pomona.cli.chain import run_steps
    from pomona.pipeline import WHOLE

    run_steps(
        WHOLE,
        source,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
