"""``pomona cloud submit``, ``logs`` and ``ssh``: what is done with a cluster that stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pomona.cli import options as o
from pomona.cli.cloud import EU, Name, Region

if TYPE_CHECKING:
    from pomona.cloud.account import Cloud
    from pomona.cloud.machines import Instance
    from pomona.cloud.remote import Command

_RUN_FAILED = 1


def register(cloud: typer.Typer) -> None:
    """Add the commands."""
    cloud.command(
        "submit", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
    )(submit)
    cloud.command("logs")(logs)
    cloud.command("ssh")(ssh)


def submit(
    context: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="[INPUT", help="Default: the cluster's.")
    ] = None,
    output: Annotated[
        str | None, typer.Argument(metavar="OUTPUT]", help="Default: the cluster's.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what it says until it ends.")
    ] = False,
    quote: Annotated[
        str | None,
        typer.Option("--quote", metavar="JSON", help="Of `cloud quote`, for the ledger."),
    ] = None,
    name: Name = "pomona",
    region: Region = EU,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the script alone.")] = False,
    verbose: o.Verbose = False,
) -> None:
    """Run the chain on the cluster; other options are those of `pomona run`.

    It goes on when this machine is switched off.
    """
    from pomona.cli.terminal import reporting, result, say

    with reporting(verbose=verbose, resume="The run goes on: pomona cloud logs --follow"):
        from pomona.cloud import remote, stack
        from pomona.cloud.account import Cloud
        from pomona.errors import CloudError, UsageError

        cloud = Cloud(name, region)
        present = stack.describe(cloud)
        if present is None:
            raise CloudError(f"There is no cluster {name} in {region}.", "pomona cloud up")
        places = [source or present.outputs["Input"], output or present.outputs["Output"]]
        for text in places:
            if not text.startswith("s3://"):
                raise UsageError(
                    f"The cluster cannot see {text}.",
                    f"Upload it: pomona upload {text} {present.outputs['Input']}",
                )
        script = remote.run_script(cloud, places[0], places[1], context.args, quote)
        if dry_run:
            result(script)
            return
        command = remote.send(
            cloud,
            _master(cloud).identity,
            script,
            comment=remote.comment_of(cloud),
            logged=True,
        )
        result(f"run {command.identity} of {places[0]} has begun")
        if not follow:
            say("  pomona cloud logs --follow")
            return
        _follow(cloud, command)


def logs(
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run ends.")
    ] = False,
    name: Name = "pomona",
    region: Region = EU,
    verbose: o.Verbose = False,
) -> None:
    """What the newest run says."""
    from pomona.cli.terminal import reporting, result

    with reporting(verbose=verbose, resume="The run goes on: pomona cloud logs --follow"):
        from pomona.cloud import remote
        from pomona.cloud.account import Cloud
        from pomona.errors import CloudError

        cloud = Cloud(name, region)
        command = remote.newest(cloud)
        if command is None:
            raise CloudError(f"Nothing has been run on {name} yet.", "pomona cloud submit")
        if follow:
            _follow(cloud, command)
            return
        for line in remote.lines(cloud, command, follow=False):
            result(line)


def ssh(
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Go by SSH, with this private key."),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="With --key. Default: the image's.")
    ] = None,
    name: Name = "pomona",
    region: Region = EU,
    verbose: o.Verbose = False,
) -> None:
    """A shell on the master: through Session Manager, or by SSH with --key."""
    import subprocess
    import tempfile

    from pomona.cli.terminal import reporting

    with reporting(verbose=verbose):
        from pomona.cloud import door, plan, stack
        from pomona.cloud.account import Cloud
        from pomona.errors import CloudError

        cloud = Cloud(name, region)
        instance = _master(cloud)
        with tempfile.TemporaryDirectory(prefix="pomona-ssh-") as folder:
            if key is None:
                command = door.session_command(cloud, instance)
            else:
                present = stack.describe(cloud)
                if present is None or not present.parameters.get("SshFrom"):
                    raise CloudError(
                        "SSH is not open on this cluster.",
                        "pomona cloud up --ssh-key NAME --ssh-from YOUR-ADDRESS/32, or no --key.",
                    )
                image = plan.image_of(present.parameters)
                command = door.ssh_command(
                    cloud, instance, key, user or image.user, Path(folder) / "known_hosts"
                )
            code = subprocess.call(command)
    raise SystemExit(code)


def _master(cloud: Cloud) -> Instance:
    from pomona.cloud import machines
    from pomona.errors import CloudError

    for instance in machines.instances(cloud):
        if instance.role == "master" and instance.state == "running":
            return instance
    raise CloudError(
        f"The cluster {cloud.name} has no master that runs.", "Start one: pomona cloud up"
    )


def _follow(cloud: Cloud, command: Command) -> None:
    """Show a run until it ends, and end as it did."""
    from pomona.cli.terminal import result, say
    from pomona.cloud import remote

    for line in remote.lines(cloud, command, follow=True):
        result(line)
    ended = remote.ask(cloud, command)
    if ended.status != "Success":
        say(f"pomona: the run ended as {ended.status}, with exit code {ended.code}")
        raise SystemExit(ended.code if ended.code > 0 else _RUN_FAILED)
