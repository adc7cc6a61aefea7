"""``pomona export-table``: features or components as a file for other tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.storage import Location
    from pomona.tabular import Format


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export-table")(export_one_table)


@o.takes(o.STORAGE)
def export_one_table(
    table: Annotated[
        str, typer.Argument(metavar="features|components", help="Which table of OUTPUT.")
    ],
    output: o.Output,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="The file to write, or the folder to write it in; local or s3://.",
        ),
    ],
    file_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="parquet|csv|npy",
            help="Default: what TARGET ends in, else parquet.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there already.")] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Write a table of OUTPUT as one Parquet, CSV or NumPy file."""
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.ledger import present_model
        from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE
        from pomona.settings import load_settings
        from pomona.storage import Location, open_store
        from pomona.storage.table import Table
        from pomona.tabular import export_table

        storage = load_settings(**flags).storage
        where = Location.parse(output, storage)
        name = o.one_of("table", table, ("features", "components"))
        rows = Table(where.join(name), FEATURES_TABLE if name == "features" else COMPONENTS_TABLE)
        file, fmt = _file(Location.parse(target, storage), target, name, file_format)
        _keep_out(file, where)
        models = rows.distinct("model") if name == "features" else set()
        model = present_model(open_store(where), models) if name == "features" else None
        done = export_table(rows, model, file, fmt, force=force)
        if as_json:
            print_json(
                {
                    "files": [str(one) for one in done.files],
                    "format": fmt,
                    "rows": done.rows,
                    "dimension": done.dimension,
                    "bytes": done.bytes,
                    "model": model,
                }
            )
        elif not quiet:
            size = f"{done.rows:,} rows of {done.dimension:,} values, {done.bytes / 1e6:.2f} MB"
            result(f"{', '.join(str(one) for one in done.files)}: {size}")


def _file(where: Location, text: str, table: str, asked: str | None) -> tuple[Location, Format]:
    """The file that TARGET means, and its format."""
    from pomona.errors import UsageError
    from pomona.storage import open_store
    from pomona.tabular import FORMATS

    ends_in = where.name.rpartition(".")[2].lower()
    into = text.endswith("/") or where.is_root or open_store(where.parent).is_folder(where.name)
    told = o.one_of("format", asked, FORMATS) if asked is not None else None
    if into:
        fmt: Format = told or "parquet"
        return where.join(f"{table}.{fmt}"), fmt
    named = next((fmt for fmt in FORMATS if fmt == ends_in), None)
    if told and named and told != named:
        raise UsageError(
            f"TARGET ends in .{named}, but --format is {told}.", "Leave one of them out."
        )
    return where, told or named or "parquet"


def _keep_out(file: Location, output: Location) -> None:
    """A file inside a table would be taken for garbage by the next compaction."""
    from pomona.errors import UsageError

    for table in ("features", "rejects", "components"):
        if f"{file.path}/".startswith(f"{output.join(table).path}/"):
            raise UsageError(f"TARGET lies inside the table {table}.", "Choose another TARGET.")
