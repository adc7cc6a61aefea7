from __future__ import annotations

import json
import shlex
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from pomona.cli.app import app
from pomona.cloud import account, door, machines, remote, stack
from pomona.cloud.account import Cloud
from pomona.cloud.machines import Instance
from pomona.cloud.plan import Wish, parameters
from pomona.cloud.rights import operator_policy
from pomona.errors import CloudError
from tests.servers.iam import create_user, enforcing

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:moto")


def test_workers_that_are_alive_count() -> None:
    page = {"workers": [{"state": "ALIVE"}, {"state": "DEAD"}, {"state": "ALIVE"}], "cores": 4}
    assert remote.count_workers(json.dumps(page)) == 2
    assert remote.count_workers("") is None
    assert remote.count_workers('{"error": 1}') is None


def test_the_script_runs_what_was_asked_for(tmp_path: Path) -> None:
    quote = '{"images":3,"seconds":1.5}'
    layout = "{split}/{label}/it's; rm -rf /"
    script = remote.run_script(
        Cloud("orchard", "eu-central-1"), "s3://b/in", "s3://b/out", ["--layout", layout], quote
    )
    (tmp_path / "cluster.env").write_text("POMONA_ROLE=master\nPOMONA_MASTER_HOST=10.77.0.4\n")
    fake = tmp_path / "runuser"
    fake.write_text('#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done\nprintf "\\n"\n')
    fake.chmod(0o755)
    script = script.replace("/etc/pomona/cluster.env", shlex.quote(f"{tmp_path}/cluster.env"))
    script = script.replace("cd /var/lib/pomona", f"cd {shlex.quote(str(tmp_path))}")
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, env={"PATH": f"{tmp_path}:/usr/bin"}
    )
    assert done.returncode == 0, done.stderr
    record, run = (line.split("\0")[:-1] for line in done.stdout.splitlines())
    assert record[-3:] == ["orchard", "10.77.0.4", "/etc/pomona/secret"]
    assert run[:4] == ["-u", "pomona", "--", "env"]
    assert f"POMONA_QUOTE={quote}" in run
    assert "AWS_DEFAULT_REGION=eu-central-1" in run
    assert run[-8:] == [
        "pomona", "run", "s3://b/in", "s3://b/out", "--master", "orchard", "--layout", layout,
    ]  # fmt: skip


def test_the_words_of_a_run(aws: Any, cloud: Cloud) -> None:
    logs, ssm = aws("logs"), aws("ssm")
    logs.create_log_group(logGroupName=cloud.log_group)
    assert remote.newest(cloud) is None
    result = CliRunner().invoke(app, ["cloud", "logs", "--name", "orchard"])
    assert result.exit_code == 1
    assert "Nothing has been run" in result.output
    sent = ssm.send_command(
        InstanceIds=["i-1"], DocumentName="AWS-RunShellScript", Comment=remote.comment_of(cloud)
    )["Command"]["CommandId"]
    ssm.send_command(InstanceIds=["i-1"], DocumentName="AWS-RunShellScript", Comment="another")
    now = int(time.time() * 1_000)
    for stream, words in ((f"{sent}/i-1/out", ["listing", "done"]), ("other/i-1/out", ["no"])):
        logs.create_log_stream(logGroupName=cloud.log_group, logStreamName=stream)
        logs.put_log_events(
            logGroupName=cloud.log_group,
            logStreamName=stream,
            logEvents=[{"timestamp": now + i, "message": w} for i, w in enumerate(words)],
        )
    result = CliRunner().invoke(app, ["cloud", "logs", "--name", "orchard", "--follow"])
    assert result.exit_code == 0, result.output
    assert result.output.split() == ["listing", "done"]


@pytest.mark.parametrize("command", [["submit"], ["ssh"], ["scale", "2", "--yes"]])
def test_without_a_cluster(cloud: Cloud, command: list[str]) -> None:
    result = CliRunner().invoke(app, ["cloud", command[0], "--name", "orchard", *command[1:]])
    assert result.exit_code == 1
    assert "pomona cloud up" in result.output


def test_host_keys_are_those_of_the_last_start(tmp_path: Path) -> None:
    keys = []
    for number in range(2):
        path = tmp_path / f"key{number}"
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "root@host", "-f", str(path)]
        subprocess.run(make, check=True)
        keys.append(path.with_suffix(".pub").read_text().strip())
    console = "".join(
        f"[ 9.1] boot\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n{key}\r\n"
        "-----END SSH HOST KEY KEYS-----\r\n"
        for key in keys
    )
    assert door.host_keys(console) == [keys[1].rsplit(" ", 1)[0]]
    assert door.host_keys("no keys yet") == []


def test_no_host_key_is_trusted_unseen(aws: Any, cloud: Cloud, tmp_path: Path) -> None:
    image = aws("ec2").describe_images()["Images"][0]["ImageId"]
    made = aws("ec2").run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    instance = Instance(
        made["InstanceId"], "master", "t3.medium", "running", 0.0, "10.0.0.1", "203.0.113.7", False
    )
    with pytest.raises(CloudError, match="no other is trusted"):
        door.ssh_command(cloud, instance, tmp_path / "key", "ec2-user", tmp_path / "known")


def test_without_rights(
    aws: Any, archive: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    url = os.environ["AWS_ENDPOINT_URL"]
    policy = operator_policy(cloud, "123456789012")
    users = {
        "nobody": create_user(url, "nobody", None),
        "operator": create_user(url, "operator", policy),
    }

    def become(name: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", users[name]["aws_access_key_id"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", users[name]["aws_secret_access_key"])
        account.forget()

    with enforcing(url):
        become("nobody")
        up = ["cloud", "up", "--archive", str(archive), "--yes", "--name", "orchard"]
        result = CliRunner().invoke(app, up)
        assert result.exit_code == 1
        assert "AWS refuses DescribeStacks (AccessDenied" in result.output
        assert "pomona cloud rights" in result.output

        become("operator")
        assert stack.describe(cloud) is None
        assert machines.instances(cloud) == []
        other = Cloud("other", cloud.region)
        chosen = parameters(
            Wish(), "other", "pomona-other", make_bucket=True, machine="x86_64", glibc=(2, 34)
        )
        with pytest.raises(CloudError, match="refuses CreateStack"):
            stack.create(other, chosen, {}, lambda _: None)
    account.forget()
