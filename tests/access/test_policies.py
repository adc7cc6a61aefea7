from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pomona.access.policies import (
    MANAGED_LIMIT,
    ROLES,
    Prefix,
    Terms,
    bucket_policy,
    pipeline_policy,
    public_access_block,
    reader_policy,
    size_of,
    uploader_policy,
)
from pomona.errors import UsageError
from tests.servers import roles
from tests.servers.iam import allows, create_user, enforcing
from tests.servers.moto import empty

if TYPE_CHECKING:
    from pomona.access.policies import Role
    from tests.servers.roles import Attempt

KEY = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
TLS = {"aws:SecureTransport": "true"}


def ids(attempt: Attempt) -> str:
    return attempt.what.replace(" ", "-")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("attempt", roles.ATTEMPTS, ids=ids)
def test_the_documents_read_literally(role: Role, attempt: Attempt) -> None:
    context = {**attempt.context, "aws:SecureTransport": str(attempt.tls).lower()}
    found = allows(
        [roles.documents()[role], *roles.bucket_documents()],
        attempt.action,
        f"arn:aws:s3:::{attempt.resource}",
        context,
    )
    assert found == (role in attempt.allowed)


@pytest.mark.parametrize("role", ROLES)
def test_a_server_that_enforces_them(role: Role, moto: str) -> None:
    roles.prepare(moto)
    keys = create_user(moto, role, roles.documents()[role])
    s3 = roles.client(moto, keys)
    with enforcing(moto):
        found = {
            attempt.what: roles.verdict_of_server(s3, attempt)
            for attempt in roles.ATTEMPTS
            if attempt.judged(role)
        }
    wanted = {a.what: role in a.allowed for a in roles.ATTEMPTS if a.judged(role)}
    assert found == wanted
    assert any(found.values())
    empty(moto)


def test_without_a_policy_the_server_refuses_all(moto: str) -> None:
    roles.prepare(moto)
    s3 = roles.client(moto, create_user(moto, "nobody", None))
    with enforcing(moto):
        assert not any(
            roles.verdict_of_server(s3, attempt) for attempt in roles.ATTEMPTS if attempt.call
        )


def test_the_pipeline_document_is_this() -> None:
    # Written out, since a test that only asks questions would not see a statement too many.
    assert pipeline_policy(Prefix("orchard", "in"), Prefix("results", "a/out"), Terms()) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ListInput",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::orchard",
                "Condition": {
                    "Bool": {"aws:SecureTransport": "true"},
                    "StringLike": {"s3:prefix": "in/*"},
                },
            },
            {
                "Sid": "ReadInput",
                "Effect": "Allow",
                "Action": "s3:GetObject",
                "Resource": ["arn:aws:s3:::orchard/in", "arn:aws:s3:::orchard/in/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "true"}},
            },
            {
                "Sid": "ListOutput",
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::results",
                "Condition": {
                    "Bool": {"aws:SecureTransport": "true"},
                    "StringLike": {"s3:prefix": "a/out/*"},
                },
            },
            {
                "Sid": "WriteOutput",
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                ],
                "Resource": "arn:aws:s3:::results/a/out/*",
                "Condition": {"Bool": {"aws:SecureTransport": "true"}},
            },
        ],
    }


@pytest.mark.parametrize(
    "key", ["*", "in?", "${aws:username}", "a*b/c?d$e", "$", "all/*/of [it]", "$*?", "é ü", "a+b%"]
)
def test_special_characters_are_meant_literally(key: str) -> None:
    document = reader_policy(Prefix("b", key), Terms())
    assert allows([document], "s3:GetObject", f"arn:aws:s3:::b/{key}/x", TLS)
    assert allows([document], "s3:ListBucket", "arn:aws:s3:::b", {**TLS, "s3:prefix": f"{key}/"})
    for other in ("secret", "inX", "joe", "aXXb/cXd$e", key + "X"):
        resource = f"arn:aws:s3:::b/{other}/x"
        assert not allows([document], "s3:GetObject", resource, TLS), other
        context = {**TLS, "s3:prefix": f"{other}/"}
        assert not allows([document], "s3:ListBucket", "arn:aws:s3:::b", context), other


@pytest.mark.parametrize("key", ["水果", "pe\u0302che", "a\nb", "bell\x07"])
def test_what_iam_cannot_write_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="IAM policies cannot name"):
        reader_policy(Prefix("b", key), Terms())


def test_a_whole_bucket_has_no_prefix_condition() -> None:
    document = reader_policy(Prefix("b"), Terms())
    assert allows([document], "s3:ListBucket", "arn:aws:s3:::b", TLS)
    assert allows([document], "s3:GetObject", "arn:aws:s3:::b/any/key", TLS)
    assert not allows([document], "s3:GetObject", "arn:aws:s3:::bc/any/key", TLS)


def test_one_bucket_for_both_and_output_below_input() -> None:
    document = pipeline_policy(Prefix("b", "in"), Prefix("b", "in/out"), Terms())
    assert allows([document], "s3:PutObject", "arn:aws:s3:::b/in/out/x", TLS)
    assert not allows([document], "s3:PutObject", "arn:aws:s3:::b/in/x", TLS)
    assert not allows([document], "s3:DeleteObject", "arn:aws:s3:::b/in/x", TLS)


@pytest.mark.parametrize(("source", "output"), [("a", "a"), ("a/b", "a"), ("a", ""), ("", "")])
def test_an_input_that_could_be_deleted_is_refused(source: str, output: str) -> None:
    with pytest.raises(UsageError, match="INPUT lies within OUTPUT"):
        pipeline_policy(Prefix("b", source), Prefix("b", output), Terms())


def test_the_same_prefix_in_two_buckets_is_not_within() -> None:
    assert pipeline_policy(Prefix("b", "a"), Prefix("c", "a"), Terms())
    assert pipeline_policy(Prefix("b", "ab"), Prefix("b", "a"), Terms())


def test_local_places_need_no_rights() -> None:
    only_out = pipeline_policy(None, Prefix("b", "out"), Terms())
    assert [s["Sid"] for s in only_out["Statement"]] == ["ListOutput", "WriteOutput"]
    only_in = pipeline_policy(Prefix("b", "in"), None, Terms())
    assert [s["Sid"] for s in only_in["Statement"]] == ["ListInput", "ReadInput"]
    with pytest.raises(UsageError, match="on S3"):
        pipeline_policy(None, None, Terms())
    with pytest.raises(UsageError, match="on S3"):
        uploader_policy(None, Terms())
    with pytest.raises(UsageError, match="on S3"):
        reader_policy(None, Terms())


def test_the_key_serves_through_s3_alone() -> None:
    terms = Terms(kms_keys=(KEY,))
    place = Prefix("b", "p")
    through = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}
    for document, actions in (
        (pipeline_policy(place, Prefix("c"), terms), {"kms:Decrypt", "kms:GenerateDataKey"}),
        (uploader_policy(place, terms), {"kms:Decrypt", "kms:GenerateDataKey"}),
        (reader_policy(place, terms), {"kms:Decrypt"}),
    ):
        for action in ("kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:DescribeKey"):
            assert allows([document], action, KEY, through) == (action in actions)
            assert not allows([document], action, KEY, {})
            assert not allows([document], action, KEY[:-1] + "c", through)


@pytest.mark.parametrize(
    ("partition", "arn", "service"),
    [
        ("aws-cn", KEY.replace("aws:kms:eu-west-1", "aws-cn:kms:cn-north-1"),
         "s3.cn-north-1.amazonaws.com.cn"),
        ("aws-us-gov", KEY.replace("aws:kms:eu-west-1", "aws-us-gov:kms:us-gov-west-1"),
         "s3.us-gov-west-1.amazonaws.com"),
    ],
)  # fmt: skip
def test_other_partitions(partition: Any, arn: str, service: str) -> None:
    document = reader_policy(Prefix("b", "p"), Terms(partition, (arn,)))
    text = json.dumps([document, bucket_policy("b", partition)])
    assert "arn:aws:" not in text
    assert f"arn:{partition}:s3:::b/p/*" in text
    assert service in text


@pytest.mark.parametrize(
    "arn",
    ["1234abcd", KEY.replace(":key/", ":alias/"), KEY.replace("arn:aws:", "arn:aws-cn:"), "*",
     KEY + "/*"],
)  # fmt: skip
def test_what_is_no_key_is_refused(arn: str) -> None:
    with pytest.raises(UsageError, match="not the ARN of a KMS key"):
        reader_policy(Prefix("b"), Terms(kms_keys=(arn,)))


@pytest.mark.parametrize("folder", ["..", "a/../b", "", "a//b", "."])
def test_a_folder_that_leaves_input_is_refused(folder: str) -> None:
    with pytest.raises(UsageError, match="no sub-folder"):
        Prefix("b", "in").below(folder)


def test_overwriting_is_allowed_when_asked_for() -> None:
    document = uploader_policy(roles.FOLDER, Terms(), overwrite=True)
    target = "arn:aws:s3:::orchard/in/new/b.jpg"
    assert allows([document], "s3:PutObject", target, {**TLS, **roles.OVER})
    assert not allows([document], "s3:GetObject", target, TLS)


def test_plain_http_is_allowed_when_asked_for() -> None:
    documents = roles.documents(Terms(tls=False))
    assert "SecureTransport" not in json.dumps(documents)
    assert allows([documents["reader"]], "s3:GetObject", "arn:aws:s3:::results/out/x", {})


def test_the_bucket_refuses_plain_http_even_to_an_administrator() -> None:
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    both = [everything, bucket_policy("b")]
    for action, resource in (("s3:GetObject", "b/x"), ("s3:ListBucket", "b")):
        arn = f"arn:aws:s3:::{resource}"
        assert allows(both, action, arn, TLS)
        assert not allows(both, action, arn, {"aws:SecureTransport": "false"})


def test_the_public_access_block_blocks_all_four() -> None:
    assert public_access_block() == {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": True,
        "RestrictPublicBuckets": True,
    }


def test_ordinary_documents_fit() -> None:
    terms = Terms(kms_keys=(KEY,))
    for document in roles.documents(terms).values():
        assert size_of(document) < MANAGED_LIMIT / 4


def test_one_command_prints_the_table() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "roles.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(rows) == len(roles.ATTEMPTS) + 1
    assert done.stdout.endswith("0 wrong.\n")
    documented = (script.parents[1] / "docs" / "security.md").read_text()
    for row in rows[1:]:
        assert row.removesuffix(" - |").rstrip() in documented
