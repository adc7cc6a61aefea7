from __future__ import annotations

from pathlib import Path

import cfnlint.decode
import pytest

import pomona.cloud
from pomona.access.policies import MANAGED_LIMIT, size_of
from pomona.cloud.account import Cloud
from pomona.cloud.plan import Wish, is_burstable, machine_of, parameters, resources, template
from pomona.cloud.rights import operator_policy
from pomona.errors import UsageError

_PATH = Path(pomona.cloud.__file__).with_name("template.yaml")


def chosen(**wanted: object) -> dict[str, str]:
    return parameters(
        Wish(**wanted),  # type: ignore[arg-type]
        "orchard", "pomona-orchard", make_bucket=True, machine="x86_64", glibc=(2, 34),
    )  # fmt: skip


def test_resources_are_those_that_cfn_lint_reads() -> None:
    found, problems = cfnlint.decode.decode(str(_PATH))
    assert not problems
    assert found is not None
    everything = {name: body["Type"] for name, body in found["Resources"].items()}
    with_ssh = chosen(ssh_key="key", ssh_from="203.0.113.7/32")
    assert dict(resources(with_ssh)) == everything
    bare = {n for n, body in found["Resources"].items() if "Condition" not in body}
    theirs = chosen(vpc="vpc-1", subnets=("subnet-1",)) | {"MakeBucket": "no"}
    assert {name for name, _ in resources(theirs)} == bare


def test_every_parameter_is_declared() -> None:
    found, _ = cfnlint.decode.decode(str(_PATH))
    assert found is not None
    everything = chosen(
        spot=True, idle_minutes=61, most_workers=3, disk_gib=30, vpc="vpc-1", subnets=("s-1",),
        ssh_key="key", ssh_from="203.0.113.7/32",
    )  # fmt: skip
    assert set(everything) == set(found["Parameters"])
    assert everything["IdlePeriods"] == "13"


def test_the_template_fits_into_one_request() -> None:
    assert len(template().encode()) < 51_200
    # CloudFormation's YAML knows no aliases.
    assert not [line for line in template().splitlines() if ": &" in line or ": *" in line]


@pytest.mark.parametrize(
    ("kind", "machine", "burstable"),
    [
        ("t3.medium", "x86_64", True),
        ("t3a.large", "x86_64", True),
        ("t4g.small", "arm64", True),
        ("c6i.large", "x86_64", False),
        ("c7gn.xlarge", "arm64", False),
        ("m7g.2xlarge", "arm64", False),
        ("g5.xlarge", "x86_64", False),
        ("g5g.xlarge", "arm64", False),
        ("c7i-flex.large", "x86_64", False),
    ],
)
def test_what_a_type_is(kind: str, machine: str, burstable: bool) -> None:
    assert machine_of(kind) == machine
    assert is_burstable(kind) == burstable


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"worker_type": "large"}, "no instance type"),
        ({"ssh_key": "key"}, "both a key pair"),
        ({"ssh_key": "key", "ssh_from": "0.0.0.0/0"}, "half the world"),
        ({"ssh_key": "key", "ssh_from": "home"}, "no range"),
        ({"vpc": "vpc-1"}, "go together"),
        ({"idle_minutes": 5}, "between 15 and 1440"),
        ({"input": ("bucket", "")}, "one prefix"),
        ({"input": ("b", "out/in"), "output": ("b", "out")}, "within OUTPUT"),
    ],
)
def test_a_wish_that_cannot_work(wanted: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chosen(**wanted)


def test_what_stands_stays_as_it_is() -> None:
    before = chosen(spot=True, worker_type="c6i.large", idle_minutes=120, workers=3)
    after = parameters(
        Wish(workers=1), "orchard", "pomona-orchard", make_bucket=False, machine=None,
        glibc=(2, 0), present=before,
    )  # fmt: skip
    assert after == before


@pytest.mark.parametrize("name", ["", "Orchard", "9lives", "a" * 21, "a_b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UsageError):
        Cloud(name, "eu-west-1")


def test_the_operators_policy_names_one_cluster() -> None:
    policy = operator_policy(Cloud("orchard", "eu-central-1"), "123456789012")
    assert size_of(policy) < MANAGED_LIMIT
    wide = {s["Sid"] for s in policy["Statement"] if s["Resource"] == "*"}
    bound = {s["Sid"] for s in policy["Statement"] if "Condition" in s}
    # What names no resource looks, or is bound to the region or the tag.
    assert wide - bound == {"Look"}
