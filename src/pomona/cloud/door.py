"""A shell on the master: through Session Manager, or by SSH with a host key that AWS shows."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

from pomona.cloud.account import asking
from pomona.errors import CloudError

if TYPE_CHECKING:
    from pathlib import Path

    from pomona.cloud.account import Cloud
    from pomona.cloud.machines import Instance

_KEYS = re.compile(
    r"-----BEGIN SSH HOST KEY KEYS-----(?P<keys>.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL
)
_KEY = re.compile(r"\b((?:ssh|ecdsa)-[a-z0-9-]+ [A-Za-z0-9+/]+=*)")
_PLUGIN = "session-manager-plugin"


def session_command(cloud: Cloud, instance: Instance) -> list[str]:
    """The command that opens a shell through Session Manager.

    Raises:
        CloudError: AWS's plugin for it is not installed.
    """
    plugin = shutil.which(_PLUGIN)
    if plugin is None:
        raise CloudError(
            f"Session Manager needs AWS's {_PLUGIN} on this machine, and it is not there.",
            "Install it (see AWS's page 'Install the Session Manager plugin'), or open SSH: "
            "pomona cloud up --ssh-key NAME --ssh-from YOUR-ADDRESS/32, then cloud ssh --key FILE.",
        )
    client = cloud.client("ssm")
    asked = {"Target": instance.identity}
    with asking():
        answer = client.start_session(**asked)
    told = {k: answer[k] for k in ("SessionId", "TokenValue", "StreamUrl")}
    # As AWS's own command line starts it.
    return [
        plugin,
        json.dumps(told),
        cloud.region,
        "StartSession",
        "",
        json.dumps(asked),
        client.meta.endpoint_url,
    ]


def ssh_command(
    cloud: Cloud, instance: Instance, key: Path, user: str, known_hosts: Path
) -> list[str]:
    """The ``ssh`` command; it connects to nothing but a host with the key that AWS printed.

    Args:
        cloud: the cluster.
        instance: the master.
        key: the private key.
        user: to log in.
        known_hosts: file that the host's keys are written to.

    Raises:
        CloudError: the instance has no public address, or has not printed its keys yet.
    """
    if not instance.public:
        raise CloudError("The master has no public address.", "Use Session Manager: no --key.")
    with asking():
        answer = cloud.client("ec2").get_console_output(InstanceId=instance.identity)
    keys = host_keys(answer.get("Output", ""))
    if not keys:
        raise CloudError(
            "The master's console does not show its host keys yet, and no other is trusted.",
            "They come a few minutes after its start; or use Session Manager: no --key.",
        )
    known_hosts.write_text("".join(f"{instance.public} {found}\n" for found in keys))
    return [
        "ssh",
        "-i",
        str(key),
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"UserKnownHostsFile={known_hosts}",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
        f"{user}@{instance.public}",
    ]


def host_keys(console: str) -> list[str]:
    """The public host keys that cloud-init printed at the last start: type and base64."""
    found = list(_KEYS.finditer(console))
    return _KEY.findall(found[-1]["keys"]) if found else []
