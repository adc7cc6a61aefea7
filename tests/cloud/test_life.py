"""The life of a cluster against moto's AWS: what exists at each step, as facts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from pomona.access.policies import Prefix, Terms, bucket_policy, pipeline_policy
from pomona.cli.app import app
from pomona.cloud import life, machines, release, stack
from pomona.cloud.account import REGION, Cloud
from pomona.cloud.plan import Wish
from pomona.errors import CloudError, UsageError
from tests.cloud.conftest import make_archive
from tests.servers.cloud import bucket_policies

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.cloud.life import Plan

# moto warns about types that it passes over; those of the template are all done (tests/servers).
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:moto")

ACCOUNT = "123456789012"
BUCKET = f"pomona-orchard-{ACCOUNT}-{REGION}"


def silent(_: str) -> None:
    """Tell nobody."""


@pytest.fixture
def wish(cloud: Cloud, archive: Path) -> Callable[..., Plan]:
    """A plan for a wish."""

    def make(path: Path | None = archive, **wanted: Any) -> Plan:
        found = release.read_archive(path) if path is not None else None
        return life.plan(cloud, Wish(**wanted), found, {"owner": "tests"})

    return make


def exists(aws: Any) -> dict[str, int]:
    """How many of each thing the account has, beside what every account has."""
    ec2 = aws("ec2")
    stacks = aws("cloudformation").describe_stacks()["Stacks"]
    reservations = ec2.describe_instances()["Reservations"]
    states = [i["State"]["Name"] for r in reservations for i in r["Instances"]]
    secrets = aws("ssm").describe_parameters(
        ParameterFilters=[{"Key": "Name", "Option": "BeginsWith", "Values": ["/pomona/"]}]
    )
    return {
        "stacks": len(stacks),
        "running": states.count("running"),
        "groups": len(aws("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]),
        "templates": len(ec2.describe_launch_templates()["LaunchTemplates"]),
        "networks": sum(not v["IsDefault"] for v in ec2.describe_vpcs()["Vpcs"]),
        "firewalls": sum(
            g["GroupName"] != "default" for g in ec2.describe_security_groups()["SecurityGroups"]
        ),
        "roles": len(aws("iam").list_roles()["Roles"]),
        "policies": len(aws("iam").list_policies(Scope="Local")["Policies"]),
        "alarms": len(aws("cloudwatch").describe_alarms()["MetricAlarms"]),
        "logs": len(aws("logs").describe_log_groups()["logGroups"]),
        "parameters": len(secrets["Parameters"]),
        "buckets": len(aws("s3").list_buckets()["Buckets"]),
    }


NOTHING = dict.fromkeys(
    ("stacks", "running", "groups", "templates", "networks", "firewalls", "roles", "policies",
     "alarms", "logs", "parameters", "buckets"), 0,
)  # fmt: skip
STANDING = NOTHING | {
    "stacks": 1, "groups": 2, "templates": 2, "networks": 1, "firewalls": 1, "roles": 2,
    "policies": 2, "alarms": 1, "logs": 1, "parameters": 1, "buckets": 1,
}  # fmt: skip


def test_a_whole_life_by_the_command_line(aws: Any, archive: Path) -> None:
    def command(*words: str | Path, code: int = 0) -> str:
        line = ["cloud", str(words[0]), "--name", "orchard", *map(str, words[1:])]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == code, done.output
        return done.output

    told = command("up", "--archive", archive, "--dry-run")
    assert "create  Vpc" in told
    assert "EUR an hour" in told
    assert "Ireland" in told
    assert exists(aws) == NOTHING

    assert "Give --yes" in command("up", "--archive", archive, code=2)
    assert exists(aws) == NOTHING

    up = ("up", "--archive", archive, "--no-wait", "--yes")
    assert "stands: a master and 2 workers" in command(*up)
    assert exists(aws) == STANDING | {"running": 3}

    told = command("up", "--dry-run")
    assert "would stay as it is" in told
    command(*up)
    assert exists(aws) == STANDING | {"running": 3}

    told = command("scale", "5", "--yes")
    assert "a master t3.medium and 5 workers t3.medium" in told
    assert exists(aws) == STANDING | {"running": 6}
    command("scale", "1", "--yes")
    assert exists(aws) == STANDING | {"running": 2}
    assert "at most 16" in command("scale", "17", "--yes", code=1)

    state = json.loads(command("status", "--json").splitlines()[-1])
    assert state["wanted"] == {"master": 1, "worker": 1}
    assert {i["state"] for i in state["instances"]} == {"running", "terminated"}
    assert len(state["resources"]) == 29

    told = command("submit", "s3://orchard/in", "s3://orchard/out", "--components", "8")
    assert "has begun" in told

    told = command("down", "--dry-run")
    assert exists(aws) == STANDING | {"running": 2}
    assert "is gone" in command("down", "--yes")
    assert exists(aws) == NOTHING | {"buckets": 1}
    assert "nothing costs" in command("down")
    assert "deleted 4 objects" in command("down", "--delete-bucket", "--yes")
    assert exists(aws) == NOTHING
    assert "nothing costs" in command("down", "--delete-bucket")


def test_what_a_stack_is_made_of(aws: Any, cloud: Cloud, wish: Callable[..., Plan]) -> None:
    life.up(wish(workers=1, spot=True), silent, registration=False)

    # Storage: encrypted, closed, TLS only, and what expires.
    s3 = aws("s3")
    rule = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    block = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    assert bucket_policies[BUCKET] == bucket_policy(BUCKET)
    rules = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {r["Filter"]["Prefix"]: "Expiration" in r for r in rules} == {
        "": False,
        "cluster/": True,
    }
    assert rules[0]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 3}

    # Rights: word for word those of the role `pipeline`, on both kinds of instance.
    iam = aws("iam")
    documents = {}
    for policy in iam.list_policies(Scope="Local")["Policies"]:
        version = iam.get_policy_version(
            PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"]
        )
        documents[policy["PolicyName"].split("-")[2]] = version["PolicyVersion"]["Document"]
    expected = pipeline_policy(Prefix(BUCKET, "images"), Prefix(BUCKET, "results"), Terms())
    assert documents["ChainRights"] == expected
    machine = {s["Sid"]: s for s in documents["MachineRights"]["Statement"]}
    parameters = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/pomona/orchard/*"
    assert machine["FetchSecretAndMaster"]["Resource"] == parameters

    # Network: nothing comes in but from the members themselves.
    ec2 = aws("ec2")
    groups = ec2.describe_security_groups()["SecurityGroups"]
    (group,) = (g for g in groups if g["GroupName"] != "default")
    (rule,) = group["IpPermissions"]
    assert rule["IpRanges"] == []
    assert rule["UserIdGroupPairs"][0]["GroupId"] == group["GroupId"]
    outside = [r for r in group["IpPermissionsEgress"] if r["IpRanges"]]
    assert [(r["FromPort"], r["ToPort"]) for r in outside] == [(443, 443)]
    (endpoint,) = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert endpoint["ServiceName"] == f"com.amazonaws.{REGION}.s3"
    assert endpoint["VpcEndpointType"] == "Gateway"

    # Machines: session tokens demanded, disks encrypted, spot workers, a master that is none.
    for role, spot in (("worker", {"MarketType": "spot"}), ("master", None)):
        made = {name: identity for name, _, identity, _ in stack.resources(cloud)}
        versions = ec2.describe_launch_template_versions(
            LaunchTemplateId=made[f"{role.title()}Template"]
        )
        data = versions["LaunchTemplateVersions"][-1]["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True
        assert data.get("InstanceMarketOptions") == spot
        assert data["CreditSpecification"]["CpuCredits"] == "unlimited"
        assert "secret" not in data["UserData"].lower()

    # The end: an alarm on the busiest core that lets both groups have nothing.
    (alarm,) = aws("cloudwatch").describe_alarms()["MetricAlarms"]
    policies = aws("autoscaling").describe_policies()["ScalingPolicies"]
    assert sorted(alarm["AlarmActions"]) == sorted(p["PolicyARN"] for p in policies)
    assert {p["AutoScalingGroupName"] for p in policies} == {
        cloud.master_group, cloud.worker_group,
    }  # fmt: skip
    assert {(p["AdjustmentType"], p["ScalingAdjustment"]) for p in policies} == {
        ("ExactCapacity", 0)
    }
    assert alarm["TreatMissingData"] == "notBreaching"
    assert alarm["EvaluationPeriods"] == alarm["DatapointsToAlarm"] == 12

    # The secret is in the Systems Manager alone, and everything carries the cluster's tag.
    secret = aws("ssm").get_parameter(Name=cloud.parameter("secret"), WithDecryption=True)
    value = secret["Parameter"]["Value"]
    assert secret["Parameter"]["Type"] == "SecureString"
    assert len(value) >= 32
    assert value not in json.dumps(stack.describe(cloud).__dict__)
    tag = {"Key": "pomona:cluster", "Value": "orchard"}
    (network,) = (v for v in ec2.describe_vpcs()["Vpcs"] if not v["IsDefault"])
    assert tag in network["Tags"]
    assert {"Key": "owner", "Value": "tests"} in network["Tags"]
    for reservation in ec2.describe_instances()["Reservations"]:
        for instance in reservation["Instances"]:
            assert tag in instance["Tags"]


def test_a_failure_after_the_stack_stands_leaves_nothing(
    aws: Any, wish: Callable[..., Plan], archive: Path
) -> None:
    plan = wish(workers=1)
    archive.unlink()  # it is gone when it is to be sent
    with pytest.raises(FileNotFoundError):
        life.up(plan, silent, registration=False)
    assert exists(aws) == NOTHING


def test_a_failed_change_keeps_what_stood(
    aws: Any, cloud: Cloud, wish: Callable[..., Plan], tmp_path: Path
) -> None:
    life.up(wish(workers=2), silent, registration=False)
    other = make_archive(tmp_path / "other.tar.gz", glibc="2.17")
    plan = wish(other, workers=4)
    other.unlink()
    with pytest.raises(FileNotFoundError):
        life.up(plan, silent, registration=False)
    assert machines.groups(cloud)[cloud.worker_group].wanted == 2
    assert exists(aws) == STANDING | {"running": 3}


def test_instances_of_another_type(aws: Any, cloud: Cloud, wish: Callable[..., Plan]) -> None:
    life.up(wish(workers=1), silent, registration=False)
    plan = wish(None, workers=1, worker_type="c6i.large")
    _, changes = stack.changes(cloud, plan.chosen, plan.tags)
    assert [(c.action, c.resource) for c in changes] == [("Modify", "WorkerTemplate")]
    told: list[str] = []
    life.up(plan, told.append, registration=False)
    assert any("keep the old settings" in line for line in told)
    present = stack.describe(cloud)
    assert present is not None
    assert present.parameters["WorkerType"] == "c6i.large"
    assert present.parameters["BurstableWorkers"] == "no"
    assert [i.kind for i in machines.instances(cloud)] == ["t3.medium"] * 2


def test_after_it_ended_by_itself(aws: Any, cloud: Cloud, wish: Callable[..., Plan]) -> None:
    life.up(wish(workers=1), silent, registration=False)
    aws("ssm").put_parameter(Name=cloud.parameter("master"), Value="10.77.0.4", Type="String")
    for name in (cloud.worker_group, cloud.master_group):
        aws("autoscaling").execute_policy(
            AutoScalingGroupName=name,
            PolicyName=next(
                p["PolicyName"]
                for p in aws("autoscaling").describe_policies()["ScalingPolicies"]
                if p["AutoScalingGroupName"] == name
            ),
        )
    assert exists(aws)["running"] == 0
    with pytest.raises(CloudError, match="no master"):
        life.scale(cloud, 2, silent)
    # Workers must not find the address of the master that is gone.
    life.up(wish(None, workers=2), silent, registration=False)
    assert exists(aws) == STANDING | {"running": 3}


def test_the_bucket_that_was_left_is_used_again(
    aws: Any, cloud: Cloud, wish: Callable[..., Plan]
) -> None:
    life.up(wish(workers=1), silent, registration=False)
    aws("s3").put_object(Bucket=BUCKET, Key="images/a.jpg", Body=b"apple")
    life.down(cloud, silent)
    plan = wish(workers=1)
    assert plan.chosen["MakeBucket"] == "no"
    life.up(plan, silent, registration=False)
    assert exists(aws) == STANDING | {"running": 2}
    assert aws("s3").get_object(Bucket=BUCKET, Key="images/a.jpg")["Body"].read() == b"apple"


def test_without_an_environment(wish: Callable[..., Plan]) -> None:
    with pytest.raises(CloudError, match="no environment"):
        wish(None, workers=1)


def test_an_environment_of_another_kind(wish: Callable[..., Plan], tmp_path: Path) -> None:
    arm = make_archive(tmp_path / "arm.tar.gz", machine="aarch64")
    assert wish(arm).chosen["WorkerType"] == "t4g.medium"
    assert wish(arm).chosen["Image"].endswith("arm64")
    with pytest.raises(UsageError, match="packed for arm64"):
        wish(arm, worker_type="t3.medium")
    recent = make_archive(tmp_path / "recent.tar.gz", glibc="2.36")
    assert "canonical/ubuntu" in wish(recent).chosen["Image"]
    with pytest.raises(UsageError, match="al2023 has"):
        wish(recent, image="al2023")
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no tar")
    with pytest.raises(UsageError, match="no environment"):
        release.read_archive(broken)
