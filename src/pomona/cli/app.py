"""The command line: its commands, one file each, in the order that ``--help`` shows them.

Nothing heavy is imported here: every command imports what it needs when it is called.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pomona.cli import (
    cloud,
    cluster,
    compact,
    doctor,
    download,
    embed,
    evaluate,
    export,
    export_table,
    iam,
    predict,
    reduce,
    report,
    run,
    sample,
    train,
    upload,
)

app = typer.Typer(
    name="pomona",
    help="From a folder of fruit photographs to features, a reduced matrix and a report, on Spark.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from pomona import __version__

        typer.echo(f"pomona {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = None,
) -> None:
    """Options that stand before a command."""


for command in (
    run,
    embed,
    reduce,
    train,
    evaluate,
    report,
    predict,
    export,
    export_table,
    compact,
    doctor,
    iam,
    sample,
    upload,
    download,
    cluster,
    cloud,
):
    command.register(app)
