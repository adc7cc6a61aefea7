"""``pomona cluster``: a cluster on this machine or on others, and what can be done with it.

Each command imports what it needs when it is called. What makes a cluster of one kind stands in a
file of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import deploy
from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.cluster.kinds import NodeState
    from pomona.cluster.record import Cluster

cluster_app = typer.Typer(
    help="A Spark cluster: on this machine, or on machines that you have.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_LEAST_MIB = 1024
"""What an executor's Java takes."""

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]", help="Of the cluster. Default: the only one.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    deploy.register(cluster_app)
    app.add_typer(cluster_app, name="cluster")


@cluster_app.command("start")
def start(
    workers: Annotated[
        int, typer.Option("--workers", "-w", metavar="N", min=1, max=256, help="Worker processes.")
    ] = 2,
    cores: Annotated[
        int | None,
        typer.Option(
            "--cores", metavar="C", min=1, help="Of each. Default: this machine's, shared."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            "--memory", metavar="4g", help="Of each. Default: 1 GiB, and 1 GiB for each core."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Of the cluster.")] = "here",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Of the master.")
    ] = 0,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Start a Spark master and workers on this machine, to try a cluster out."""
    from pomona.cli.terminal import print_json, reporting, result, say

    with reporting(verbose=verbose):
        from pomona.cluster.kinds import handle
        from pomona.cluster.local import Shape, start_local

        shape = Shape(workers, cores or 0, _mebibytes(memory) if memory else 0, port)
        if not quiet:
            say(f"starting a master and {workers} worker{'' if workers == 1 else 's'}")
        cluster, fresh = start_local(name, shape)
        if as_json:
            print_json({"started": fresh} | _facts(cluster, handle(cluster).status()))
        elif not quiet:
            result(f"{name} {'runs' if fresh else 'runs already'}: {cluster.master}")
            result(f"  logs: {cluster.folder / 'logs'}")
            result(f"  use:  pomona run INPUT OUTPUT --master {name}")
            result(f"  end:  pomona cluster stop {name}")


@cluster_app.command("status")
def show(name: Name = None, as_json: o.Json = False, verbose: o.Verbose = False) -> None:
    """Tell which processes of a cluster run; without NAME, of all clusters.

    Exit code 1 where one of them does not.
    """
    from pomona.cli.terminal import print_json, reporting, result

    with reporting(verbose=verbose):
        from pomona.cluster import record
        from pomona.cluster.kinds import handle

        clusters = [record.load(one) for one in ([name] if name else record.names())]
        found = [(cluster, handle(cluster).status()) for cluster in clusters]
        if as_json:
            print_json({"clusters": [_facts(*one) for one in found]})
        elif not found:
            result("no cluster is recorded; make one: pomona cluster start")
        else:
            for cluster, states in found:
                _tell(cluster, states)
    if not all(state.running for _, states in found for state in states):
        raise SystemExit(1)


@cluster_app.command("logs")
def logs(
    name: Name = None,
    node: Annotated[
        str | None,
        typer.Option("--node", metavar="NODE", help="Such as worker-1. Default: every node."),
    ] = None,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="N", min=1, help="Last lines of each.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is added, until Ctrl-C.")
    ] = False,
    verbose: o.Verbose = False,
) -> None:
    """Print the last lines of the logs of a cluster."""
    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose):
        from pomona.cluster.kinds import handle

        for line in handle(_only(name)).logs(node, lines, follow=follow):
            result(line)


@cluster_app.command("stop")
def stop(name: Name = None, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """End the processes of a cluster; its record and its logs stay."""
    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose):
        from pomona.cluster.kinds import handle

        cluster = _only(name)
        stopped = handle(cluster).stop()
        if not quiet:
            result(f"{cluster.name} {'is stopped' if stopped else 'was not running'}")


@cluster_app.command("remove")
def remove(name: Name = None, quiet: o.Quiet = False, verbose: o.Verbose = False) -> None:
    """End a cluster and remove everything that it laid down, logs and record included."""
    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose):
        from pomona.cluster.kinds import handle

        cluster = _only(name)
        handle(cluster).remove()
        if not quiet:
            result(f"{cluster.name} is removed")


@cluster_app.command("ui")
def ui(name: Name = None, verbose: o.Verbose = False) -> None:
    """Tell where Spark's own page of a cluster is; on other machines, open a tunnel to it."""
    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose):
        from pomona.cluster.kinds import handle

        handle(_only(name)).ui(result)


@cluster_app.command("pack")
def pack_environment(
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE.tar.gz]", help="To write. Default: pomona-VERSION.tar.gz."),
    ] = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Pack this Python, Pomona, Spark and Java into one archive, for workers that have none."""
    from pomona.cli.terminal import print_json, reporting, result, say

    with reporting(verbose=verbose):
        from pathlib import Path

        from pomona import __version__
        from pomona.cluster.packing import pack
        from pomona.errors import UsageError

        path = Path(file or f"pomona-{__version__}.tar.gz").expanduser()
        if not path.name.endswith((".tar.gz", ".tgz")):
            raise UsageError(f"{path} would be a gzipped tar.", "Let FILE end in .tar.gz.")
        packed = pack(path, (lambda _: None) if quiet else say)
        if as_json:
            print_json(
                {
                    "path": str(packed.path),
                    "sha256": packed.sha256,
                    "size": packed.size,
                    "manifest": packed.facts,
                }
            )
        elif not quiet:
            facts = packed.facts
            result(f"{packed.path}: {packed.size / (1 << 20):,.0f} MiB, sha256 {packed.sha256}")
            result(f"  for {facts['machine']}, glibc {facts['glibc']} or newer")
            result(f"  use: pomona run INPUT OUTPUT --master URL --environment {packed.path}")


def _mebibytes(text: str) -> int:
    """``4g`` or ``4096m`` in MiB.

    Raises:
        UsageError: neither, or less than an executor needs.
    """
    from pomona.errors import UsageError

    number, unit = text[:-1], text[-1:].lower()
    if not number.isdigit() or unit not in ("g", "m"):
        raise UsageError(f"--memory {text} is not understood.", "Give 4g or 4096m.")
    found = int(number) * (1024 if unit == "g" else 1)
    if found < _LEAST_MIB:
        raise UsageError(f"--memory {text} is too little for an executor.", "Give 1g or more.")
    return found


def _only(name: str | None) -> Cluster:
    """The cluster of that name; without a name, the only one.

    Raises:
        UsageError: there is none, or there are several.
    """
    from pomona.cluster import record
    from pomona.errors import UsageError

    have = record.names()
    if name is None and len(have) != 1:
        raise UsageError(
            f"There are {len(have)} clusters: {', '.join(have)}." if have else "There is none.",
            "Give the name of one." if have else "Make one: pomona cluster start.",
        )
    return record.load(name or have[0])


def _facts(cluster: Cluster, states: list[NodeState]) -> dict[str, Any]:
    """What ``--json`` tells of a cluster; never its secret."""
    return {
        "name": cluster.name,
        "kind": cluster.kind,
        "master": cluster.master,
        "made": cluster.made,
        "versions": cluster.versions,
        "folder": str(cluster.folder),
        "running": all(state.running for state in states),
        "nodes": [
            {
                "name": state.node.name,
                "host": state.node.host,
                "role": state.node.role,
                "running": state.running,
                "pid": state.node.pid,
                "ports": state.node.ports,
                "told": state.told,
            }
            for state in states
        ],
    }


def _tell(cluster: Cluster, states: list[NodeState]) -> None:
    from pomona.cli.terminal import result

    up = sum(state.running for state in states)
    result(f"{cluster.name}: {cluster.master}, {up} of {len(states)} processes run")
    for state in states:
        word = "running" if state.running else "not running"
        told = f"  {state.told}" if state.told else ""
        result(f"  {state.node.name:<10} {state.node.host:<15} {word:<11}{told}")
