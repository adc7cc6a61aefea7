"""``pomona report``: the page."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(write_page)


@o.takes(o.STORAGE)
def write_page(
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Write the report of OUTPUT again."""
    from pomona.cli.chain import run_steps

    run_steps(
        ("report",),
        None,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
