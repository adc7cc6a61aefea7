"""``pomona compact``: few large files instead of many small ones."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pomona.cli import options as o

_MEBI = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compact")(compact_tables)


@o.takes(o.STORAGE)
def compact_tables(
    output: o.Output,
    target_mib: Annotated[
        int, typer.Option("--target-mib", metavar="N", min=1, help="Size of a large file.")
    ] = 128,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Make the tables of OUTPUT few large files, and delete files that no table names."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE, REJECTS_TABLE
        from pomona.settings import load_settings
        from pomona.storage import Location
        from pomona.storage.lock import writing
        from pomona.storage.table import Table

        where = Location.parse(output, load_settings(**flags).storage)
        schemas = {
            "features": FEATURES_TABLE,
            "rejects": REJECTS_TABLE,
            "components": COMPONENTS_TABLE,
        }
        tables = {name: Table(where.join(name), schema) for name, schema in schemas.items()}
        tables["features"].rows()  # an OUTPUT without features is refused before it is locked
        counts = {}
        with writing(where):
            for name, table in tables.items():
                if table.exists():
                    counts[name] = table.compact(target_mib * _MEBI)
        if as_json:
            print_json(counts)
        elif not quiet:
            for name, count in counts.items():
                result(
                    f"{name}: {count['files_before']:,} files became {count['files_after']:,}, "
                    f"{count['files_deleted']:,} unnamed files deleted"
                )
