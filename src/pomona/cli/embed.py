"""``pomona embed``: images to features."""

from __future__ import annotations

from typing import Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("embed")(embed_images)


@o.takes(o.NETWORK, o.IMAGES, o.SPARK, o.SIZES, o.STORAGE)
def embed_images(
    source: o.Input,
    output: o.Output,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Turn the images of INPUT into the features table of OUTPUT."""
    from pomona.cli.chain import run_steps

    run_steps(
        ("embed",),
        source,
        output,
        as_json=as_json,
        quiet=quiet,
        verbose=verbose,
        **flags,
    )
