"""The instances of a cluster, and the two groups that start and end them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.cloud.account import asking
from pomona.errors import CloudError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pomona.cloud.account import Cloud

POLL_SECONDS = 5.0
START_SECONDS = 600.0
"""Longest time for instances to be running."""


@dataclass(frozen=True)
class Instance:
    """One instance.

    Attributes:
        identity: ``i-...``.
        role: ``master`` or ``worker``.
        kind: its type.
        state: ``pending``, ``running``, ``shutting-down``, ``terminated``, ...
        launched: seconds since the epoch.
        private: its address in the cluster.
        public: its address outside; empty where it has none.
        spot: whether it may be reclaimed.
    """

    identity: str
    role: str
    kind: str
    state: str
    launched: float
    private: str
    public: str
    spot: bool

    @property
    def costs(self) -> bool:
        """Whether it is paid for."""
        return self.state in ("pending", "running")


@dataclass(frozen=True)
class Group:
    """An auto-scaling group.

    Attributes:
        wanted: instances that it shall have.
        most: that it can have.
    """

    wanted: int
    most: int


def instances(cloud: Cloud) -> list[Instance]:
    """All instances of the cluster, those that ended within the hour too; the master first."""
    with asking():
        pages = cloud.client("ec2").get_paginator("describe_instances")
        found = [
            i
            for page in pages.paginate(
                Filters=[{"Name": "tag:pomona:cluster", "Values": [cloud.name]}]
            )
            for reservation in page["Reservations"]
            for i in reservation["Instances"]
        ]
    ours = []
    for i in found:
        tags = {tag["Key"]: tag["Value"] for tag in i.get("Tags", [])}
        ours.append(
            Instance(
                identity=i["InstanceId"],
                role=tags.get("pomona:role", "unknown"),
                kind=i["InstanceType"],
                state=i["State"]["Name"],
                launched=i["LaunchTime"].timestamp(),
                private=i.get("PrivateIpAddress", ""),
                public=i.get("PublicIpAddress", ""),
                spot=i.get("InstanceLifecycle") == "spot",
            )
        )
    return sorted(ours, key=lambda i: (i.role, i.launched, i.identity))


def groups(cloud: Cloud) -> dict[str, Group]:
    """The groups by name; none where the stack is gone."""
    names = [cloud.master_group, cloud.worker_group]
    with asking():
        answer = cloud.client("autoscaling").describe_auto_scaling_groups(
            AutoScalingGroupNames=names
        )
    return {
        g["AutoScalingGroupName"]: Group(g["DesiredCapacity"], g["MaxSize"])
        for g in answer["AutoScalingGroups"]
    }


def want(cloud: Cloud, group: str, count: int) -> None:
    """Let a group have so many instances."""
    with asking():
        cloud.client("autoscaling").update_auto_scaling_group(
            AutoScalingGroupName=group, DesiredCapacity=count
        )


def renew(cloud: Cloud, role: str) -> None:
    """End the instances of a role; the group starts others, from the newest template."""
    with asking():
        for instance in instances(cloud):
            if instance.role == role and instance.costs:
                cloud.client("autoscaling").terminate_instance_in_auto_scaling_group(
                    InstanceId=instance.identity, ShouldDecrementDesiredCapacity=False
                )


def wait_running(
    cloud: Cloud, wanted: dict[str, int], since: float, tell: Callable[[str], None]
) -> list[Instance]:
    """Wait until so many instances of each role run.

    Args:
        cloud: the cluster.
        wanted: by role.
        since: seconds since the epoch; failures before it are of the past.
        tell: told how many run.

    Raises:
        CloudError: AWS cannot start one, with its reason; or it takes longer than ten minutes.
    """
    until, told = time.monotonic() + START_SECONDS, ""
    while True:
        running = [i for i in instances(cloud) if i.state == "running"]
        have = {role: sum(i.role == role for i in running) for role in wanted}
        line = ", ".join(f"{have[role]} of {count} {role}" for role, count in wanted.items())
        if line != told:
            told = line
            tell(f"  running: {line}")
        if all(have[role] >= count for role, count in wanted.items()):
            return running
        reason = _refusal(cloud, since)
        if reason or time.monotonic() > until:
            raise CloudError(
                f"AWS starts no more than {line}: {reason or 'it gives no reason'}",
                "Take another --type or --region, ask AWS for a higher quota, or try later.",
            )
        time.sleep(POLL_SECONDS)


def wait_ended(cloud: Cloud, tell: Callable[[str], None]) -> None:
    """Wait until no instance is left that costs.

    Raises:
        CloudError: one does not end.
    """
    until, told = time.monotonic() + START_SECONDS, -1
    while left := sum(i.state != "terminated" for i in instances(cloud)):
        if left != told:
            told = left
            tell(f"  ending: {left} instances")
        if time.monotonic() > until:
            raise CloudError(f"{left} instances do not end.", "Look at them in the EC2 console.")
        time.sleep(POLL_SECONDS)


def _refusal(cloud: Cloud, since: float) -> str:
    """Why AWS last failed to start an instance, if it did."""
    names = (cloud.master_group, cloud.worker_group)
    for name in names:
        with asking():
            found = cloud.client("autoscaling").describe_scaling_activities(
                AutoScalingGroupName=name, MaxRecords=5
            )
        for activity in found["Activities"]:
            if (
                activity["StatusCode"] == "Failed"
                and activity["StartTime"].timestamp() >= since
                and activity.get("StatusMessage")
            ):
                return str(activity["StatusMessage"])
    return ""
