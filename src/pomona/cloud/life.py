"""The life of a cluster: up, another size, down."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pomona.cloud import machines, release, remote, stack
from pomona.cloud.plan import Wish, parameters
from pomona.errors import CloudError, PomonaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pomona.cloud.account import Cloud
    from pomona.cloud.plan import Machine
    from pomona.cloud.release import Archive
    from pomona.cloud.stack import StackFacts

_FAMILIAR = (2, 0)
"""A glibc that every image has; it stands for an environment that is in the bucket already."""


@dataclass(frozen=True)
class Plan:
    """What ``up`` is going to do.

    Attributes:
        cloud: the cluster.
        wish: what was asked for.
        bucket: its bucket.
        chosen: parameters of the template.
        archive: the environment; None where the one in the bucket stays.
        present: the stack that exists.
        tags: on everything.
    """

    cloud: Cloud
    wish: Wish
    bucket: str
    chosen: dict[str, str]
    archive: Archive | None
    present: StackFacts | None
    tags: dict[str, str] = field(default_factory=dict)


def plan(cloud: Cloud, wish: Wish, archive: Archive | None, tags: dict[str, str]) -> Plan:
    """Look at what exists, and decide; nothing is changed.

    Raises:
        UsageError: the wish cannot be fulfilled.
        CloudError: a stack is in the way.
    """
    wish.check()
    present = stack.describe(cloud)
    if present is not None and not present.usable:
        raise CloudError(
            f"The stack {cloud.stack} is {present.status}.",
            "Wait for it, or remove what is left: pomona cloud down.",
        )
    if present is not None:
        bucket, exists = present.parameters["BucketName"], True
    else:
        bucket = cloud.bucket(cloud.account())
        exists = release.bucket_exists(cloud, bucket)
    if archive is None and not (exists and release.is_laid_down(cloud, bucket)):
        raise CloudError(
            "There is no environment in the bucket for instances to start from.",
            "pomona cluster pack pomona.tar.gz, then pomona cloud up --archive pomona.tar.gz",
        )
    machine: Machine | None = archive.machine if archive else None
    if archive is None and present is None:
        raise CloudError(
            f"The bucket {bucket} was left behind, but not what its environment is for.",
            "Give the environment once more: pomona cloud up --archive FILE.",
        )
    chosen = parameters(
        wish,
        cloud.name,
        bucket,
        make_bucket=not exists,
        machine=machine,
        glibc=archive.glibc if archive else _FAMILIAR,
        present=present.parameters if present else None,
    )
    return Plan(
        cloud, wish, bucket, chosen, archive, present, {"pomona:cluster": cloud.name} | tags
    )


def up(plan: Plan, tell: Callable[[str], None], *, registration: bool = True) -> None:
    """Make the cluster, or bring it to what the plan says; what fails is taken back.

    Args:
        plan: of :func:`plan`.
        tell: told what happens.
        registration: whether to wait until the workers have registered with the master.

    Raises:
        CloudError: it failed; a stack made by this call is gone again, one that stood before has
            the number of instances that it had.
    """
    cloud = plan.cloud
    before = machines.groups(cloud) if plan.present else {}
    try:
        _raise(plan, tell, registration=registration)
    except BaseException:
        tell("taking back what was made")
        if plan.present is None:
            _take_down(plan, tell)
        else:
            _put_back(cloud, before, tell)
        raise


def _raise(plan: Plan, tell: Callable[[str], None], *, registration: bool) -> None:
    cloud, renewed = plan.cloud, False
    if plan.present is None:
        tell(f"making the stack {cloud.stack} in {cloud.region}; a minute or three")
        stack.create(cloud, plan.chosen, plan.tags, tell)
    else:
        change_set, changes = stack.changes(cloud, plan.chosen, plan.tags)
        if changes:
            tell(f"changing {len(changes)} resources of the stack {cloud.stack}")
            stack.apply(cloud, change_set, tell)
            renewed = any(c.kind == "AWS::EC2::LaunchTemplate" for c in changes)
        elif change_set:
            stack.drop(cloud, change_set)
    if plan.archive is not None:
        release.lay_down(cloud, plan.bucket, plan.archive, tell)
    release.make_secret(cloud)
    since = time.time()
    running = [i for i in machines.instances(cloud) if i.costs]
    if not any(i.role == "master" for i in running):
        release.forget_master(cloud)
        # Workers that are left from another master would never find this one.
        machines.renew(cloud, "worker")
    elif renewed:
        tell("  instances that run already keep the old settings; `scale 0`, then up, renews them")
    machines.want(cloud, cloud.master_group, 1)
    machines.want(cloud, cloud.worker_group, plan.wish.workers)
    wanted = {"master": 1, "worker": plan.wish.workers}
    started = machines.wait_running(cloud, wanted, since, tell)
    if registration:
        master = next(i for i in started if i.role == "master")
        remote.wait_registered(cloud, master.identity, plan.wish.workers, tell)


def _put_back(cloud: Cloud, before: dict[str, machines.Group], tell: Callable[[str], None]) -> None:
    """Let the groups of a cluster that stood before have what they had; told, not raised."""
    try:
        for name, group in before.items():
            machines.want(cloud, name, group.wanted)
    except PomonaError as error:
        tell(f"{error.what} There may be more instances than before: pomona cloud status.")


def _take_down(plan: Plan, tell: Callable[[str], None]) -> None:
    """Remove everything that a failed ``up`` made; what fails in that is told, not raised."""
    made_bucket = plan.chosen["MakeBucket"] == "yes"
    try:
        down(plan.cloud, tell)
        if (
            made_bucket
            and release.bucket_exists(plan.cloud, plan.bucket)
            and release.holds_nothing_else(plan.cloud, plan.bucket)
        ):
            release.delete_bucket(plan.cloud, plan.bucket, tell)
    except PomonaError as error:
        tell(
            f"{error.what} Something may be left that costs: pomona cloud down, until it is quiet."
        )


def scale(cloud: Cloud, count: int, tell: Callable[[str], None]) -> None:
    """Let the cluster have so many workers.

    Raises:
        CloudError: there is no cluster, or more than its group may have were asked for.
    """
    found = machines.groups(cloud).get(cloud.worker_group)
    if found is None:
        raise CloudError(f"There is no cluster {cloud.name} in {cloud.region}.", "pomona cloud up")
    if count > found.most:
        raise CloudError(
            f"The cluster may have at most {found.most} workers.",
            f"pomona cloud up --most {count} --workers {count}",
        )
    since = time.time()
    if count and not any(i.role == "master" and i.costs for i in machines.instances(cloud)):
        raise CloudError(
            f"The cluster {cloud.name} has no master: it was idle, and ended.",
            f"pomona cloud up --workers {count}",
        )
    machines.want(cloud, cloud.worker_group, count)
    if count > found.wanted:
        machines.wait_running(cloud, {"worker": count}, since, tell)


def down(cloud: Cloud, tell: Callable[[str], None]) -> bool:
    """Remove everything but the bucket; whether there was anything.

    Instances end first: they are what costs, even if the rest cannot be deleted.
    """
    there = False
    for name in machines.groups(cloud):
        there = True
        machines.want(cloud, name, 0)
    if there:
        machines.wait_ended(cloud, tell)
    if stack.describe(cloud) is not None:
        there = True
        tell(f"deleting the stack {cloud.stack}")
        stack.delete(cloud, tell)
    release.forget_all(cloud)
    return there
