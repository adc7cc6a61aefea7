"""``pomona sample``: images to try the chain on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sample")(write_sample_images)


def write_sample_images(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", min=1, help="Number of images.")
    ] = 1200,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Other fruits.")] = 0,
    faults: Annotated[
        bool, typer.Option("--faults", help="Write broken files of every kind instead.")
    ] = False,
    per_kind: Annotated[
        int, typer.Option("--per-kind", metavar="N", min=1, help="With --faults: files a kind.")
    ] = 20,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Write generated images of fruit to DIR, in the folder shape of Fruits-360."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(
        verbose=verbose, resume="Remove the folder, or choose another, before the next try."
    ):
        if faults:
            from pomona.samples import write_faults

            expected = write_faults(directory, per_kind=per_kind, seed=seed)
            facts = {"output": str(directory), "faults": len(expected)}
            text = f"{len(expected):,} broken files in {directory}; faults.json says what each is"
        else:
            from dataclasses import asdict

            from pomona.samples import write_samples

            summary = write_samples(directory, count=count, seed=seed)
            facts = {"output": str(directory), **asdict(summary)}
            text = (
                f"{summary.images:,} images of {summary.classes} classes in {directory} "
                f"({summary.seconds:.1f} s)"
            )
        if as_json:
            print_json(facts)
        elif not quiet:
            result(text)
