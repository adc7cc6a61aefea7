"""``pomona upload``: a folder of images into a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.cli.terminal import Watcher
    from pomona.storage.transfer import Transfer

_MEBI = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("upload")(upload_folder)


@o.takes(o.STORAGE)
def upload_folder(
    source: Annotated[str, typer.Argument(metavar="DIR", help="A local folder, or one file.")],
    target: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="Where to.")],
    pack: Annotated[
        bool,
        typer.Option("--pack", help="Send small files in tar shards, which the chain reads too."),
    ] = False,
    shard_mib: Annotated[
        int, typer.Option("--shard-mib", metavar="N", min=1, max=1024, help="Size of a shard.")
    ] = 64,
    jobs: o.Jobs = 16,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Send to a bucket what is not there yet, in parallel, checked; again to go on."""
    from pomona.cli.terminal import reporting
    from pomona.cli.transfer import move

    with reporting(verbose=verbose):
        from pomona.errors import UsageError
        from pomona.settings import load_settings
        from pomona.storage import Location

        where, to = Location.parse(source), Location.parse(target, load_settings(**flags).storage)
        if where.scheme != "file" or to.scheme != "s3":
            raise UsageError(
                f"Upload goes from a local folder to a bucket, not from {source} to {target}.",
                "pomona upload DIR s3://bucket/prefix",
            )

    def work(watcher: Watcher) -> Transfer:
        from pomona.storage.upload import upload

        return upload(where, to, watcher, pack=shard_mib * _MEBI if pack else None, jobs=jobs)

    move("uploading", "uploaded", work, str(to), as_json=as_json, quiet=quiet, verbose=verbose)
