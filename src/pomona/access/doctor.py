"""``doctor``: all checks, one after the other, none of them hidden by another's failure.

Each check imports what it looks at inside its own attempt, so that a broken installation is a
finding as well.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.access import machine
from pomona.access.check import Check, attempt, fail, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pomona.access.policies import Role
    from pomona.storage import Location


def examine_machine(master: str) -> Iterator[Check]:
    """Python, Java, cores, memory and the scratch disk."""
    from pomona.spark.session import local_tasks

    tasks = local_tasks(master)
    yield attempt("python", machine.check_python)
    yield attempt("java", machine.check_java)
    yield attempt("cores", lambda: machine.check_cores(tasks))
    yield attempt("memory", lambda: machine.check_memory(tasks))
    yield attempt("scratch disk", machine.check_scratch)


def examine_places(
    source: Location | None,
    output: Location | None,
    role: Role | None = None,
    *,
    folder: str = "",
) -> Iterator[Check]:
    """INPUT and OUTPUT, each where it is given, and the rights to them where they are on S3.

    Args:
        source: INPUT.
        output: OUTPUT.
        role: whose rights the credentials should have, no more and no fewer. None: those of the
            pipeline, and more is worth a warning only.
        folder: the uploader's, below INPUT.
    """
    remote = [place for place in (source, output) if place is not None and place.scheme == "s3"]
    if remote:
        credentials = attempt("credentials", lambda: _credentials(remote[0]))
        yield credentials
        if credentials.mark != "fail":
            yield from _rights(source, output, role, folder)
    if role in ("uploader", "reader"):
        return
    if source is not None:
        yield attempt("input", lambda: _input(source))
    if output is not None:
        yield attempt("output", lambda: _output(output))
        if output.scheme == "s3":
            yield attempt("commits", lambda: _commits(output))
        if output.scheme == "file":
            at = Path(output.path)
            yield attempt("output disk", lambda: machine.check_disk("output disk", at))


def examine_spark(
    master: str, spark_conf: Mapping[str, str] | None = None, environment: str | None = None
) -> Iterator[Check]:
    """Spark, its workers, and the network on them."""
    from pomona.access.workers import check_spark
    from pomona.workspace import open_workspace

    with ExitStack() as stack:
        try:
            workspace = stack.enter_context(open_workspace())
        except OSError as error:
            yield fail(
                "spark",
                f"there is no folder for temporary files: {one_line(error)}",
                "Let TMPDIR name a folder that you may write to.",
            )
            return
        yield from check_spark(
            workspace, master=master, spark_conf=spark_conf, environment=environment
        )


def _commits(location: Location) -> Check:
    from pomona.access.places import check_conditions

    return check_conditions(location)


def _credentials(location: Location) -> Check:
    from pomona.access.rights import check_credentials

    return check_credentials(location)


def _rights(
    source: Location | None, output: Location | None, role: Role | None, folder: str
) -> Iterator[Check]:
    from pomona.access.rights import check_rights

    yield from check_rights(
        role or "pipeline", source, output, folder=folder, strict=role is not None
    )


def _input(location: Location) -> Check:
    from pomona.access.places import check_input

    return check_input(location)


def _output(location: Location) -> Check:
    from pomona.access.places import check_output

    return check_output(location)
