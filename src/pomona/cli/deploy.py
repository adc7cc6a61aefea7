"""``pomona cluster deploy``: a cluster on machines that one has, by SSH."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pomona.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("deploy")(deploy_cluster)


def deploy_cluster(
    hosts: Annotated[
        list[str],
        typer.Argument(metavar="HOST...", help="[USER@]HOST[:PORT] of each machine, all of them."),
    ],
    user: Annotated[
        str, typer.Option("--user", "-u", metavar="U", help="Root, or may use sudo. As ssh.")
    ] = "",
    key: Annotated[
        str,
        typer.Option(
            "--key", "-i", metavar="FILE", help="Private key. Default: as ssh, the agent."
        ),
    ] = "",
    known_hosts: Annotated[
        str,
        typer.Option("--known-hosts", metavar="FILE", help="Host keys to trust. Default: as ssh."),
    ] = "",
    name: Annotated[str, typer.Option("--name", help="Of the cluster.")] = "pomona",
    master_host: Annotated[
        str,
        typer.Option(
            "--master-host",
            metavar="HOST",
            help="Of the master; one that is not among HOST... does nothing else. "
            "Default: the first.",
        ),
    ] = "",
    cores: Annotated[
        int | None,
        typer.Option("--cores", metavar="N", min=1, help="That each worker offers. Default: all."),
    ] = None,
    memory: Annotated[
        str,
        typer.Option(
            "--memory",
            metavar="SIZE",
            help="That each worker offers, such as 6g. Default: what there is, less a reserve.",
        ),
    ] = "",
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="FILE",
            help="Made by pomona cluster pack. Default: one of this installation.",
        ),
    ] = None,
    firewall: Annotated[
        bool,
        typer.Option(
            "--firewall/--no-firewall",
            help="Let only the hosts and this machine to the cluster's ports, by nftables.",
        ),
    ] = True,
    drop: Annotated[
        bool, typer.Option("--drop", help="Hosts of the cluster that are not named leave it.")
    ] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Make the machines HOST... a cluster, or bring it up to date; again to go on.

    Their host keys have to be known, as they are after an ssh to each of them.
    """
    from pomona.cli.terminal import print_json, reporting, result, say

    with reporting(verbose=verbose, resume="Run the same command again to go on."):
        from pomona.cluster.archive import open_archive, own_archive
        from pomona.cluster.connection import Login
        from pomona.cluster.deploying import Plan, deploy

        tell = (lambda _: None) if quiet else say
        login = Login(user, _absolute(key), _absolute(known_hosts))
        plan = Plan(
            name=name,
            targets=tuple(hosts),
            master=master_host or hosts[0],
            login=login,
            archive=open_archive(archive or own_archive(tell)),
            cores=cores,
            memory=memory,
            firewall=firewall,
            drop=drop,
        )
        cluster = deploy(plan, tell)
        if as_json:
            print_json(
                {
                    "name": cluster.name,
                    "master": cluster.master,
                    "release": plan.archive.release,
                    "hosts": list(plan.hosts),
                }
            )
        else:
            result(f"{cluster.name} runs at {cluster.master}")
            result(f"  pomona run INPUT OUTPUT --master {cluster.name}")


def _absolute(file: str) -> str:
    """A path that still holds when the command is called elsewhere; empty stays so."""
    return str(Path(file).expanduser().absolute()) if file else ""
