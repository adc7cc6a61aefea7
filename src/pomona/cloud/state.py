"""What exists of a cluster, for people and programs."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pomona.cloud import machines, release, remote, stack
from pomona.errors import CloudError, UsageError

if TYPE_CHECKING:
    from pomona.cloud.account import Cloud
    from pomona.cloud.machines import Instance
    from pomona.cloud.prices import Prices
    from pomona.cloud.remote import Command

_HOUR = 3_600.0


@dataclass(frozen=True)
class State:
    """A cluster at a moment.

    Attributes:
        name: of the cluster.
        region: of it.
        stack: its status; empty where there is none.
        bucket: its bucket; empty where there is none.
        resources: of the stack: name, type, identity, status.
        instances: those that ended within the hour too.
        wanted: instances that each group shall have.
        registered: workers that Spark's master counts; None where it does not say.
        euros: what the instances that are there have cost since they began, at least.
        euros_an_hour: what they cost, not counting CPU credits; None where it is not known.
        run: the newest run that was submitted.
    """

    name: str
    region: str
    stack: str = ""
    bucket: str = ""
    resources: list[tuple[str, str, str, str]] = field(default_factory=list)
    instances: list[Instance] = field(default_factory=list)
    wanted: dict[str, int] = field(default_factory=dict)
    registered: int | None = None
    euros: float | None = None
    euros_an_hour: float | None = None
    run: Command | None = None

    def facts(self) -> dict[str, Any]:
        """Everything as plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """As a table for people."""
        found = [f"cluster {self.name} in {self.region}: {self.stack or 'there is none'}"]
        if self.bucket:
            found.append(f"bucket    {self.bucket}")
        found += [f"  {name:<18} {kind:<42} {status}" for name, kind, _, status in self.resources]
        for i in self.instances:
            age = (time.time() - i.launched) / 60
            since = f"for {age:.0f} min" if i.costs else ""
            found.append(
                f"{i.role:<9} {i.identity:<20} {i.kind:<12} {i.state:<14} {i.private:<15} "
                f"{'spot ' if i.spot else ''}{since}".rstrip()
            )
        wanted = self.wanted.get("worker")
        if wanted is not None:
            known = "unknown" if self.registered is None else str(self.registered)
            found.append(f"workers   {known} registered with Spark, {wanted} wanted")
        if self.run is not None:
            found.append(f"run       {self.run.identity} {self.run.status}")
        if self.euros is not None and self.euros_an_hour is not None:
            found.append(
                f"cost      {self.euros:.3f} EUR so far for the instances that are there, "
                f"{self.euros_an_hour:.3f} an hour, without CPU credits and tax"
            )
        return found


def look(cloud: Cloud, prices: Prices) -> State:
    """Ask AWS for everything that exists.

    Raises:
        CloudError: AWS refuses or cannot be reached.
    """
    present = stack.describe(cloud)
    bucket = present.parameters["BucketName"] if present else cloud.bucket(cloud.account())
    found = machines.instances(cloud)
    groups = machines.groups(cloud)
    by_role = {"master": cloud.master_group, "worker": cloud.worker_group}
    registered, run = None, None
    master = next((i for i in found if i.role == "master" and i.state == "running"), None)
    if master is not None:
        try:
            registered = remote.registered(cloud, master.identity, patience=10.0, agent=0.0)
        except CloudError:
            registered = None  # it is shown as unknown: a fresh master cannot be asked yet
    if present is not None:
        run = remote.newest(cloud)
    gib = int(present.parameters.get("DiskGiB", "20")) if present else 20
    hours = _hours(cloud, prices, [i for i in found if i.costs], gib)
    return State(
        name=cloud.name,
        region=cloud.region,
        stack=present.status if present else "",
        bucket=bucket if present or release.bucket_exists(cloud, bucket) else "",
        resources=stack.resources(cloud) if present else [],
        instances=found,
        wanted={role: groups[g].wanted for role, g in by_role.items() if g in groups},
        registered=registered,
        euros=None if hours is None else sum(h * age for h, age in hours),
        euros_an_hour=None if hours is None else sum(h for h, _ in hours),
        run=run,
    )


def look_quickly(cloud: Cloud) -> list[str]:
    """The instances that cost, a line each."""
    return [
        f"{i.role} {i.identity} {i.kind} {i.state}" for i in machines.instances(cloud) if i.costs
    ]


def _hours(
    cloud: Cloud, prices: Prices, found: list[Instance], gib: int
) -> list[tuple[float, float]] | None:
    """EUR an hour and hours of age of each instance; None where a price is not known."""
    try:
        return [
            (
                prices.euros(
                    prices.instance_hour(i.kind, cloud.region, spot=i.spot)
                    + prices.disk_hour(cloud.region, gib)
                ),
                max(0.0, time.time() - i.launched) / _HOUR,
            )
            for i in found
        ]
    except UsageError:
        return None
