"""``pomona doctor``: what works here, what does not, and what to do about it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(examine)


@o.takes(o.SPARK, o.STORAGE)
def examine(
    uris: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[INPUT [OUTPUT]]",
            help="Where the images are, and where the results shall go.",
            show_default=False,
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            "--role",
            metavar="pipeline|uploader|reader",
            help="On S3: whose rights the credentials should have, and none besides.",
        ),
    ] = None,
    add_under: Annotated[
        str,
        typer.Option("--add-under", metavar="FOLDER", help="The uploader's sub-folder of INPUT."),
    ] = "",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Check this machine, Spark and its workers, and that INPUT can be read and OUTPUT written."""
    from pomona.cli.terminal import print_json, reporting

    with reporting(verbose=verbose):
        from itertools import chain

        from pomona.access.doctor import examine_machine, examine_places, examine_spark
        from pomona.access.policies import ROLES
        from pomona.cli.masters import with_cluster
        from pomona.errors import UsageError
        from pomona.settings import load_settings
        from pomona.storage import Location

        settings = with_cluster(
            load_settings(**flags | {"spark_conf": o.pairs(flags["spark_conf"])})
        )
        places = [Location.parse(uri, settings.storage) for uri in uris or []]
        if len(places) > 2:
            raise UsageError(f"{len(places)} places were given.", "pomona doctor [INPUT [OUTPUT]]")
        source, output = (*places, None, None)[:2]
        whose = None if role is None else o.one_of("role", role, ROLES)
        theirs = {"uploader": [source], "reader": [output]}.get(whose or "", [source, output])
        if whose is not None and not any(place and place.scheme == "s3" for place in theirs):
            raise UsageError(
                f"--role {whose} is about S3, and what the {whose} works on is not there.",
                "pomona doctor s3://... s3://... --role ...",
            )
        found = []
        for check in chain(
            examine_machine(settings.master),
            examine_places(source, output, whose, folder=add_under),
            examine_spark(settings.master, settings.spark_conf, settings.environment),
        ):
            found.append(check)
            if not as_json and (check.mark == "fail" or not quiet):
                _tell(check.mark, check.name, check.found, check.fix)
        failed = any(check.mark == "fail" for check in found)
        if as_json:
            print_json({"ok": not failed, "checks": [check.facts() for check in found]})
    if failed:
        raise SystemExit(1)


def _tell(mark: str, name: str, found: str, fix: str) -> None:
    from pomona.cli.terminal import result

    line = f"{mark:<4}  {name:<17}  {found}"
    result(" ".join(f"{line}. Fix: {fix}".split("\n")) if fix else line)
