"""What is wanted of a cluster, and the parameters that the template takes for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from pomona.errors import UsageError

Machine = Literal["x86_64", "arm64"]

_BURSTABLE = re.compile(r"t\d[a-z]*\.")
_ARM = re.compile(r"[a-z]+\d+g[a-z]*\.|a1\.")
_TYPE = re.compile(r"[a-z]+[0-9]+[a-z0-9-]*\.[a-z0-9-]+\Z")
_CIDR = re.compile(r"\d{1,3}(\.\d{1,3}){3}/\d{1,2}\Z")
_SPECIAL = re.compile(r"[*?$]")
_RESOURCE = re.compile(
    r"""^\ \ (?P<name>\w+):\n (?:\ {4}\#.*\n)*
    \ {4}Type:\ (?P<type>AWS::\S+)\n (?:\ {4}\#.*\n)*
    (?:\ {4}Condition:\ (?P<condition>\w+)\n)?""",
    re.MULTILINE | re.VERBOSE,
)

DEFAULT_TYPE: dict[Machine, str] = {"x86_64": "t3.medium", "arm64": "t4g.medium"}
"""The cheapest that Spark, its Java and the network fit in: 2 burstable cores and 4 GiB."""

_PERIOD = 5
"""Minutes that CloudWatch adds up CPU use over, without paying for more."""


@dataclass(frozen=True)
class Image:
    """A machine image that instances can start from.

    Attributes:
        name: as users say it.
        glibc: what it has; programs built for a newer one do not run.
        parameter: public SSM parameter that holds the newest one's identity.
        root: name of its root device.
        user: whom SSH logs in.
    """

    name: str
    glibc: tuple[int, int]
    parameter: str
    root: str
    user: str


_IMAGES = (
    Image(
        "al2023",
        (2, 34),
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{machine}",
        "/dev/xvda",
        "ec2-user",
    ),
    Image(
        "ubuntu",
        (2, 39),
        "/aws/service/canonical/ubuntu/server/24.04/stable/current/{debian}/hvm/ebs-gp3/ami-id",
        "/dev/sda1",
        "ubuntu",
    ),
)
"""Amazon Linux first: it has the aws command and Session Manager's agent, and starts fastest."""

IMAGES = tuple(image.name for image in _IMAGES)


def image_for(name: str | None, glibc: tuple[int, int]) -> Image:
    """The image that was asked for, or the first one that the environment runs on.

    Raises:
        UsageError: the environment was built for a newer glibc.
    """
    for image in _IMAGES:
        if name in (None, image.name) and image.glibc >= glibc:
            return image
    what = f"{name} has" if name else "no image of the cloud has"
    raise UsageError(
        f"The environment was packed on glibc {glibc[0]}.{glibc[1]}; {what} one so new.",
        "Pack it on an older system, for instance in a container of Amazon Linux 2023.",
    )


def image_of(chosen: dict[str, str]) -> Image:
    """The image that a stack was made with; each has a root device of another name."""
    root = chosen.get("RootDevice", _IMAGES[0].root)
    return next((image for image in _IMAGES if image.root == root), _IMAGES[0])


@dataclass(frozen=True)
class Wish:
    """What the user asked for; None where the stack's own value, or the default, will do.

    Attributes:
        workers: how many.
        worker_type: instance type of the workers.
        master_type: of the master.
        spot: whether workers are spot instances.
        idle_minutes: after how many everything ends.
        most_workers: more are never started.
        disk_gib: of each instance.
        image: ``al2023`` or ``ubuntu``.
        input: ``(bucket, prefix)`` where it is not ``images`` in the cluster's bucket.
        output: likewise, ``results``.
        vpc: a network that exists.
        subnets: of it.
        ssh_key: name of a key pair.
        ssh_from: address range that SSH is open to.
    """

    workers: int = 2
    worker_type: str | None = None
    master_type: str | None = None
    spot: bool | None = None
    idle_minutes: int | None = None
    most_workers: int | None = None
    disk_gib: int | None = None
    image: str | None = None
    input: tuple[str, str] | None = None
    output: tuple[str, str] | None = None
    vpc: str | None = None
    subnets: tuple[str, ...] = ()
    ssh_key: str | None = None
    ssh_from: str | None = None

    def check(self) -> None:
        """Find what cannot work before anything is asked of AWS.

        Raises:
            UsageError: what, and what would.
        """
        for kind in filter(None, (self.worker_type, self.master_type)):
            if not _TYPE.match(kind):
                raise UsageError(f"{kind} is no instance type.", "Such as t3.medium or c7g.xlarge.")
        if self.ssh_from is not None and not _CIDR.match(self.ssh_from):
            raise UsageError(f"{self.ssh_from} is no range.", "Such as 203.0.113.7/32: yours.")
        if self.ssh_from is not None and int(self.ssh_from.rpartition("/")[2]) < 16:
            raise UsageError(
                f"{self.ssh_from} is half the world.", "Give your own address with /32."
            )
        if (self.ssh_from is None) != (self.ssh_key is None):
            raise UsageError(
                "SSH needs both a key pair and an address range.",
                "Give --ssh-key NAME --ssh-from ADDRESS/32, or neither: `pomona cloud ssh` goes "
                "through Session Manager.",
            )
        if (self.vpc is None) != (not self.subnets):
            raise UsageError("--vpc and --subnet go together.", "Give both or neither.")
        if self.idle_minutes is not None and not 15 <= self.idle_minutes <= 1_440:
            raise UsageError(
                f"--idle {self.idle_minutes} is not between 15 and 1440 minutes.", "Such as 60."
            )
        for place in filter(None, (self.input, self.output)):
            if not place[1] or _SPECIAL.search(place[1]):
                raise UsageError(
                    f"The cluster's rights are to one prefix, not to s3://{'/'.join(place)}.",
                    "Give s3://bucket/prefix, without *, ? and $.",
                )
        if self.input and self.output and _within(self.output, self.input):
            raise UsageError(
                "INPUT lies within OUTPUT, where it could be deleted.",
                "Choose an OUTPUT beside INPUT.",
            )


def _within(outer: tuple[str, str], inner: tuple[str, str]) -> bool:
    return outer[0] == inner[0] and f"{inner[1]}/".startswith(f"{outer[1]}/")


def machine_of(kind: str) -> Machine:
    """The architecture of an instance type, from its name: a ``g`` after the generation is ARM."""
    return "arm64" if _ARM.match(kind) else "x86_64"


def is_burstable(kind: str) -> bool:
    """Whether an instance type lives on CPU credits."""
    return _BURSTABLE.match(kind) is not None


def parameters(
    wish: Wish,
    cluster: str,
    bucket: str,
    *,
    make_bucket: bool,
    machine: Machine | None,
    glibc: tuple[int, int],
    present: dict[str, str] | None = None,
) -> dict[str, str]:
    """The parameters of the template.

    Args:
        wish: what was asked for.
        cluster: its name.
        bucket: its bucket.
        make_bucket: whether the stack makes the bucket.
        machine: architecture of the environment; None where it is not known, and then types
            and image stay as they are.
        glibc: that the environment needs.
        present: parameters of the stack that exists, which stay where nothing else was asked for.

    Raises:
        UsageError: types and environment do not go together.
    """
    wish.check()
    had = present or {}
    source, target = wish.input or (bucket, "images"), wish.output or (bucket, "results")
    found = {
        "Cluster": cluster,
        "BucketName": bucket,
        "MakeBucket": had.get("MakeBucket", "yes" if make_bucket else "no"),
        "InputBucket": source[0],
        "InputPrefix": source[1],
        "OutputBucket": target[0],
        "OutputPrefix": target[1],
    }
    for key in ("Input", "Output"):
        if getattr(wish, key.lower()) is None:
            found |= {k: had[k] for k in (f"{key}Bucket", f"{key}Prefix") if k in had}
    default = DEFAULT_TYPE[machine or "x86_64"]
    for key, asked in (("Worker", wish.worker_type), ("Master", wish.master_type)):
        kind = asked or had.get(f"{key}Type")
        if kind is None or (asked is None and machine not in (None, machine_of(kind))):
            kind = default
        found[f"{key}Type"] = kind
        if machine is not None and machine_of(kind) != machine:
            other = "x86_64" if machine == "arm64" else "arm64"
            raise UsageError(
                f"{kind} has an {other} processor; the environment was packed for {machine}.",
                f"Take a type such as {default}, or pack the environment on {other}.",
            )
    found["BurstableMaster"] = _yes(is_burstable(found["MasterType"]))
    found["BurstableWorkers"] = _yes(is_burstable(found["WorkerType"]))
    image = image_of(had) if machine is None else image_for(wish.image, glibc)
    kept = machine or machine_of(found["WorkerType"])
    debian = "arm64" if kept == "arm64" else "amd64"
    found["Image"] = image.parameter.format(machine=kept, debian=debian)
    found["RootDevice"] = image.root
    if wish.spot is not None:
        found["Spot"] = _yes(wish.spot)
    if wish.idle_minutes is not None:
        found["IdlePeriods"] = str(-(-wish.idle_minutes // _PERIOD))
    if wish.vpc is not None:
        found |= {"VpcId": wish.vpc, "SubnetIds": ",".join(wish.subnets)}
    if wish.ssh_key is not None and wish.ssh_from is not None:
        found |= {"SshKey": wish.ssh_key, "SshFrom": wish.ssh_from}
    if wish.disk_gib is not None:
        found["DiskGiB"] = str(wish.disk_gib)
    most = wish.most_workers or int(had.get("MostWorkers", "16"))
    found["MostWorkers"] = str(max(most, wish.workers))
    return had | found


def template() -> str:
    """The CloudFormation template."""
    return (files("pomona.cloud") / "template.yaml").read_text(encoding="utf-8")


def resources(chosen: dict[str, str]) -> list[tuple[str, str]]:
    """Name and type of each resource that the template makes with these parameters."""
    holds = {
        "MakeBucket": chosen.get("MakeBucket") == "yes",
        "MakeNetwork": not chosen.get("VpcId"),
        "OpenSsh": bool(chosen.get("SshFrom")),
    }
    body = template().split("\nResources:\n", 1)[1].split("\nOutputs:\n", 1)[0]
    return [
        (found["name"], found["type"])
        for found in _RESOURCE.finditer(body)
        if found["condition"] is None or holds[found["condition"]]
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"
