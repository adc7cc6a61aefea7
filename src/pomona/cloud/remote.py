"""Commands on the master, through Systems Manager: nothing connects to it from outside."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.cloud.account import asking, code_of
from pomona.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pomona.cloud.account import Cloud

LONGEST_RUN = 172_800
"""Seconds: two days, which is the most that a command may take."""
POLL_SECONDS = 3.0
AGENT_SECONDS = 300.0
"""Longest time until a fresh instance can be spoken to."""

_ENDED = ("Success", "Cancelled", "TimedOut", "Failed", "Undeliverable", "Terminated")
_PYTHON = "/opt/pomona/current/bin/python"
_HOME = "/var/lib/pomona"


@dataclass(frozen=True)
class Command:
    """A command that was sent.

    Attributes:
        identity: of the command.
        instance: that it runs on.
        status: ``Pending``, ``InProgress``, ``Success``, ``Failed``, ...
        code: its exit code; -1 while it runs.
        output: the first 24,000 characters of its standard output.
    """

    identity: str
    instance: str
    status: str = "Pending"
    code: int = -1
    output: str = ""

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status in _ENDED


def send(
    cloud: Cloud,
    instance: str,
    script: str,
    *,
    comment: str,
    logged: bool,
    agent: float = AGENT_SECONDS,
) -> Command:
    """Start a script on an instance; it goes on whatever becomes of this process.

    Args:
        cloud: the cluster.
        instance: on which.
        script: for ``sh``, run by root.
        comment: by which it is found again.
        logged: whether its words go to the log group.
        agent: seconds in which the instance may become known to Systems Manager.

    Raises:
        CloudError: the instance is not known to Systems Manager in time.
    """
    until = time.monotonic() + agent
    while True:
        with asking():
            try:
                sent = cloud.client("ssm").send_command(
                    InstanceIds=[instance],
                    DocumentName="AWS-RunShellScript",
                    Comment=comment,
                    Parameters={"commands": [script], "executionTimeout": [str(LONGEST_RUN)]},
                    **(
                        {
                            "CloudWatchOutputConfig": {
                                "CloudWatchLogGroupName": cloud.log_group,
                                "CloudWatchOutputEnabled": True,
                            }
                        }
                        if logged
                        else {}
                    ),
                )
                return Command(sent["Command"]["CommandId"], instance)
            except Exception as error:
                # A fresh instance is not known to Systems Manager in its first minute.
                if code_of(error) != "InvalidInstanceId" or time.monotonic() > until:
                    raise
        time.sleep(POLL_SECONDS)


def ask(cloud: Cloud, command: Command) -> Command:
    """The command as it stands now."""
    with asking():
        try:
            found = cloud.client("ssm").get_command_invocation(
                CommandId=command.identity, InstanceId=command.instance
            )
        except Exception as error:
            if code_of(error) == "InvocationDoesNotExist":
                return command
            raise
    return Command(
        command.identity,
        command.instance,
        found["Status"],
        int(found.get("ResponseCode", -1)),
        found.get("StandardOutputContent", ""),
    )


def newest(cloud: Cloud) -> Command | None:
    """The newest run that was submitted, if any."""
    comment = comment_of(cloud)
    with asking():
        pages = (
            cloud.client("ssm")
            .get_paginator("list_commands")
            .paginate(Filters=[{"key": "DocumentName", "value": "AWS-RunShellScript"}])
        )
        found = [c for page in pages for c in page["Commands"] if c.get("Comment") == comment]
    if not found:
        return None
    last = max(found, key=lambda c: c["RequestedDateTime"])
    return ask(cloud, Command(last["CommandId"], last["InstanceIds"][0]))


def comment_of(cloud: Cloud) -> str:
    """How runs of this cluster are told from other commands."""
    return f"pomona run on {cloud.name}"


def run_script(
    cloud: Cloud, source: str, output: str, options: Sequence[str], quote: str | None
) -> str:
    """The script that runs the chain on the master, as the user of the service.

    The driver finds the cluster's secret through a record that names its file; the secret itself
    is neither here nor on any command line.
    """
    record = (
        "import sys; from pomona.cluster.record import Cluster, save; "
        "name, address, file = sys.argv[1:]; "
        'save(Cluster(name, "aws", f"spark://{address}:7077", secret_file=file, '
        'conf={"spark.driver.host": address, "spark.driver.bindAddress": address}))'
    )
    run = ["-m", "pomona", "run", source, output, "--master", cloud.name, *options]
    given = f" POMONA_QUOTE={shlex.quote(quote)}" if quote else ""
    return f"""set -eu
as() {{ runuser -u pomona -- env HOME={_HOME} AWS_DEFAULT_REGION={cloud.region}{given} "$@"; }}
address=$(sed -n 's/^POMONA_MASTER_HOST=//p' /etc/pomona/cluster.env)
cd {_HOME}
as {_PYTHON} -c {shlex.quote(record)} {cloud.name} "$address" /etc/pomona/secret
as {_PYTHON} {shlex.join(run)}
"""


def registered(
    cloud: Cloud, instance: str, *, patience: float = 20.0, agent: float = AGENT_SECONDS
) -> int | None:
    """How many workers Spark's master counts as alive; None where it does not say.

    Its page listens on the loopback address alone, so the master is asked to ask itself.
    """
    script = "curl --silent --max-time 5 http://127.0.0.1:8080/json/"
    command = send(
        cloud, instance, script, comment=f"pomona status of {cloud.name}", logged=False, agent=agent
    )
    until = time.monotonic() + patience
    while not command.ended and time.monotonic() < until:
        time.sleep(min(1.0, POLL_SECONDS))
        command = ask(cloud, command)
    return count_workers(ask(cloud, command).output)


def count_workers(page: str) -> int | None:
    """The workers that are alive, from the JSON page of Spark's master."""
    import json

    try:
        found = json.loads(page)
        return len([w for w in found["workers"] if w["state"] == "ALIVE"])
    except (ValueError, KeyError, TypeError):
        return None


def wait_registered(
    cloud: Cloud, instance: str, count: int, tell: Callable[[str], None], *, seconds: float = 600.0
) -> None:
    """Wait until so many workers have registered with the master.

    Raises:
        CloudError: they have not after ten minutes.
    """
    until, told = time.monotonic() + seconds, -1
    while (have := registered(cloud, instance) or 0) < count:
        if have != told:
            told = have
            tell(f"  registered with the master: {have} of {count} workers")
        if time.monotonic() > until:
            raise CloudError(
                f"{have} of {count} workers registered within {seconds / 60:.0f} minutes.",
                "See what an instance said when it started: aws ec2 get-console-output "
                f"--region {cloud.region} --latest --output text --instance-id {instance}",
            )
        time.sleep(POLL_SECONDS)
    tell(f"  registered with the master: {count} of {count} workers")


def lines(cloud: Cloud, command: Command, *, follow: bool) -> Iterator[str]:
    """What a run said, from the log group; with ``follow`` until it has ended."""
    client, token, seen = cloud.client("logs"), None, set[str]()
    while True:
        ended = ask(cloud, command).ended
        while True:
            with asking():
                answer = client.filter_log_events(
                    logGroupName=cloud.log_group,
                    logStreamNamePrefix=command.identity,
                    **({"nextToken": token} if token else {}),
                )
            for event in answer["events"]:
                ours = event["logStreamName"].startswith(command.identity)
                if ours and event["eventId"] not in seen:
                    seen.add(event["eventId"])
                    yield from event["message"].splitlines()
            token = answer.get("nextToken")
            if not token:
                break
        if ended or not follow:
            return
        time.sleep(POLL_SECONDS)
