"""``pomona download``: results, or anything else, out of a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.cli.terminal import Watcher
    from pomona.storage.transfer import Transfer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("download")(download_prefix)


@o.takes(o.STORAGE)
def download_prefix(
    source: Annotated[
        str,
        typer.Argument(
            metavar="s3://BUCKET/PREFIX", help="What to fetch: a prefix, or one object."
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="DIR", help="A local folder; created.")],
    jobs: o.Jobs = 16,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Fetch from a bucket what is not here yet, in parallel, checked; again to go on."""
    from pomona.cli.terminal import reporting
    from pomona.cli.transfer import move

    with reporting(verbose=verbose):
        from pomona.errors import UsageError
        from pomona.settings import load_settings
        from pomona.storage import Location

        where, to = Location.parse(source, load_settings(**flags).storage), Location.parse(target)
        if where.scheme != "s3" or to.scheme != "file":
            raise UsageError(
                f"Download goes from a bucket to a local folder, not from {source} to {target}.",
                "pomona download s3://bucket/prefix DIR",
            )

    def work(watcher: Watcher) -> Transfer:
        from pomona.storage.download import download

        return download(where, to, watcher, jobs=jobs)

    move("downloading", "downloaded", work, str(to), as_json=as_json, quiet=quiet, verbose=verbose)
