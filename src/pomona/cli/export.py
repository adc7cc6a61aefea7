"""``pomona export``: the whole recogniser as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_recogniser)


@o.takes(o.NETWORK)
def export_recogniser(
    output: o.Output,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The ONNX file to write, such as fruit.onnx.")
    ],
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Write the recogniser of OUTPUT as one ONNX file: from any photograph to probabilities."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.recognition.exporting import export
        from pomona.settings import load_settings
        from pomona.storage import Location, open_store

        settings = load_settings(**flags)
        data = export(open_store(Location.parse(output)), settings.model_dump())
        target = Location.parse(file)
        open_store(target.parent).write(target.name, data)
        if as_json:
            print_json({"file": str(target), "bytes": len(data)})
        elif not quiet:
            result(f"{target}: {len(data) / 1e6:.2f} MB")
