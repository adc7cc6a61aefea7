from __future__ import annotations

import copy
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pomona.access.places import check_conditions
from pomona.access.policies import ROLES, bucket_policy, public_access_block
from pomona.access.rights import check_credentials, check_rights
from pomona.samples import write_samples
from pomona.storage import Location, aws
from tests.command import pomona
from tests.servers import roles

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pomona.access.check import Check
    from pomona.access.policies import Role
    from tests.servers.guard import Guard

PIPELINE = roles.documents()["pipeline"]


@pytest.fixture
def places(guard: Guard, become: Callable[..., None]) -> Guard:
    become()
    roles.prepare(guard.url)
    return guard


def checks(role: Role, *, strict: bool = True) -> dict[str, Check]:
    found = check_rights(
        role,
        Location.parse("s3://orchard/in"),
        Location.parse("s3://results/out"),
        folder="new" if role == "uploader" else "",
        strict=strict,
    )
    return {check.name: check for check in found}


def failed(found: dict[str, Check]) -> set[str]:
    return {name for name, check in found.items() if check.mark == "fail"}


def owner(url: str) -> Any:
    return roles.client(url, {"aws_access_key_id": "OWNER", "aws_secret_access_key": "x"})


def contents(s3: Any) -> list[Any]:
    found: list[Any] = []
    for bucket in ("orchard", "results"):
        listed = s3.list_object_versions(Bucket=bucket)
        for kind in ("Versions", "DeleteMarkers"):
            found += [(kind, item["Key"], item["VersionId"]) for item in listed.get(kind, [])]
        found += s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_what_it_needs_and_no_more(
    role: Role, places: Guard, become: Callable[..., None]
) -> None:
    become(roles.documents()[role])
    found = checks(role)
    assert {check.mark for check in found.values()} == {"ok"}, found
    assert len(found) > 15
    become(roles.documents()["reader" if role != "reader" else "uploader"])
    assert failed(checks(role))


@pytest.mark.parametrize("missing", [s["Sid"] for s in PIPELINE["Statement"]])
def test_a_missing_statement_is_named(
    missing: str, places: Guard, become: Callable[..., None]
) -> None:
    document = copy.deepcopy(PIPELINE)
    document["Statement"] = [s for s in document["Statement"] if s["Sid"] != missing]
    become(document)
    found = checks("pipeline")
    # Without the right to list, S3 calls a missing object forbidden, so that reading fails too.
    also = {"ListInput": "read INPUT", "ListOutput": "read OUTPUT"}.get(missing)
    blamed = {name for name in failed(found) if missing in found[name].found}
    assert blamed
    assert failed(found) - blamed <= {also}


@pytest.mark.parametrize(
    ("action", "resource", "wide"),
    [
        ("s3:PutObject", "orchard/in/*", {"write to INPUT"}),
        ("s3:DeleteObject", "orchard/*", {"delete in INPUT", "delete in orchard"}),
        ("s3:ListBucket", "orchard", {"list orchard", "list in orchard"}),
        ("s3:PutObject", "results/*", {"write in results"}),
        ("s3:DeleteObject", "results/*", {"delete in results"}),
    ],
)
def test_a_right_too_many_is_named(
    action: str, resource: str, wide: set[str], places: Guard, become: Callable[..., None]
) -> None:
    more = {"Effect": "Allow", "Action": action, "Resource": f"arn:aws:s3:::{resource}"}
    become(PIPELINE, {"Statement": [more]})
    found = checks("pipeline")
    assert failed(found) == wide
    assert all(action in found[name].found for name in wide)


def test_reading_elsewhere_is_seen_where_listing_is_allowed(
    places: Guard, become: Callable[..., None]
) -> None:
    more = [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::orchard/*"},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::orchard"},
    ]
    become(PIPELINE, {"Statement": more})
    assert "read in orchard" in failed(checks("pipeline"))


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_left_not_even_by_the_owner_of_versioned_buckets(
    role: Role, places: Guard
) -> None:
    s3 = owner(places.url)
    for bucket in ("orchard", "results"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    before = contents(s3)
    assert failed(checks(role))
    assert contents(s3) == before


def test_without_a_role_too_much_is_one_warning(places: Guard) -> None:
    found = checks("pipeline", strict=False)
    assert not failed(found)
    assert found["rights"].mark == "warn"
    assert "delete in INPUT" in found["rights"].found


def test_moto_as_it_is_gives_the_same_answers(bucket: Any, moto: str) -> None:
    owner(moto).create_bucket(Bucket="results")
    found = checks("pipeline", strict=False)
    assert not failed(found)
    assert found["write OUTPUT"].mark == "ok"


def test_a_bucket_that_is_not_there_is_one_line(places: Guard) -> None:
    found = list(check_rights("pipeline", Location.parse("s3://nowhere/in"), None))
    assert [check.mark for check in found] == ["fail"]
    assert "no such bucket" in found[0].found


def test_the_buckets_own_guards_are_seen(places: Guard) -> None:
    s3 = owner(places.url)
    before = checks("pipeline", strict=False)
    assert (before["TLS in orchard"].mark, before["public orchard"].mark) == ("warn", "warn")
    s3.put_public_access_block(
        Bucket="orchard", PublicAccessBlockConfiguration=public_access_block()
    )
    s3.put_bucket_policy(Bucket="orchard", Policy=json.dumps(bucket_policy("orchard")))
    after = checks("pipeline", strict=False)
    assert after["TLS in orchard"].found == "the bucket refuses plain http"
    assert after["public orchard"].found == "the bucket cannot become public"
    partly = public_access_block() | {"BlockPublicAcls": False}
    s3.put_public_access_block(Bucket="orchard", PublicAccessBlockConfiguration=partly)
    assert "BlockPublicAcls" in checks("pipeline", strict=False)["public orchard"].found


@pytest.mark.parametrize(
    ("answer", "mark"), [("kept", "ok"), ("ignored", "warn"), ("501 NotImplemented", "fail")]
)
def test_a_service_without_conditional_puts_is_told(places: Guard, answer: str, mark: str) -> None:
    def before(environ: dict[str, Any]) -> str | None:
        asked = environ.keys() & {"HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"}
        if environ["REQUEST_METHOD"] != "PUT" or not asked or answer == "kept":
            return None
        for name in asked:
            del environ[name]
        return None if answer == "ignored" else answer

    places.before = before
    before_it = contents(owner(places.url))
    check = check_conditions(Location.parse("s3://results/out"))
    assert check.mark == mark
    assert contents(owner(places.url)) == before_it


def test_credentials_are_named_but_not_shown(places: Guard) -> None:
    check = check_credentials(Location.parse("s3://orchard/in"))
    assert "from env" in check.found
    assert os.environ["AWS_ACCESS_KEY_ID"] not in str(check)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in str(check)


def test_no_credentials_is_one_line(places: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    from pomona.access.doctor import examine_places

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    aws.forget()
    found = list(examine_places(Location.parse("s3://orchard/in"), None))
    assert [(check.name, check.mark) for check in found] == [
        ("credentials", "fail"),
        ("input", "fail"),
    ]
    assert "AWS_PROFILE" in found[0].fix


def test_the_command_under_the_pipelines_role(
    places: Guard, become: Callable[..., None], tmp_path: Path
) -> None:
    write_samples(tmp_path / "images", count=5, processes=1)
    s3 = owner(places.url)
    for key in ("in/a.jpg", "in/new/b.jpg"):
        s3.put_object(
            Bucket="orchard", Key=key, Body=next((tmp_path / "images").rglob("*.jpg")).read_bytes()
        )
    before = contents(s3)
    become(PIPELINE)
    done = pomona("doctor", "s3://orchard/in", "s3://results/out", "--role", "pipeline", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {found[name]["mark"] for name in ("input", "output", "commits", "network")} == {"ok"}
    assert found["delete in INPUT"]["found"] == "refused, as it should be"
    assert contents(s3) == before
    everything = done.stdout + done.stderr
    assert os.environ["AWS_ACCESS_KEY_ID"] not in everything
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in everything


@pytest.mark.parametrize(
    "arguments",
    [("here", "--role", "reader"), ("here", "s3://results/out", "--role", "uploader"),
     ("s3://results/out", "--role", "reader")],
)  # fmt: skip
def test_a_role_needs_its_bucket(arguments: tuple[str, ...]) -> None:
    done = pomona("doctor", *arguments)
    assert done.returncode == 2
    assert "--role" in done.stderr
