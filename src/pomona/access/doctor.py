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


def examine_places(source: Location | None, output: Location | None) -> Iterator[Check]:
    """INPUT and OUTPUT, each where it is given."""
    if source is not None:
        yield attempt("input", lambda: _input(source))
    if output is not None:
        yield attempt("output", lambda: _output(output))
        if output.scheme == "file":
            folder = Path(output.path)
            yield attempt("output disk", lambda: machine.check_disk("output disk", folder))


def examine_spark(master: str, spark_conf: Mapping[str, str] | None = None) -> Iterator[Check]:
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
        yield from check_spark(workspace, master=master, spark_conf=spark_conf)


def _input(location: Location) -> Check:
    from pomona.access.places import check_input

    return check_input(location)


def _output(location: Location) -> Check:
    from pomona.access.places import check_output

    return check_output(location)
