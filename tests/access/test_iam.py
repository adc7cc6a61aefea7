from __future__ import annotations

import json
import subprocess

import pytest

from tests.command import pomona
from tests.servers import roles


def iam(*arguments: str) -> subprocess.CompletedProcess[str]:
    return pomona("iam", *arguments)


@pytest.mark.parametrize("role", ["pipeline", "uploader", "reader"])
def test_the_policy_is_printed_as_json(role: str) -> None:
    done = iam("s3://orchard/in/", "s3://results/out", "--role", role, "--add-under", "new/")
    assert done.returncode == 0, done.stderr
    wanted = {str(name): document for name, document in roles.documents().items()}
    assert json.loads(done.stdout) == wanted[role]
    assert done.stderr == ""


def test_one_line_when_json_is_asked_for() -> None:
    done = iam("s3://orchard/in", "s3://results/out", "--role", "reader", "--json")
    assert len(done.stdout.splitlines()) == 1
    assert json.loads(done.stdout) == roles.documents()["reader"]


def test_what_belongs_to_the_bucket() -> None:
    done = iam("s3://orchard/in", "s3://orchard/out", "--bucket-policy")
    assert json.loads(done.stdout) == roles.bucket_documents()[0]
    done = iam("s3://orchard/in", "s3://results/out", "--bucket-policy", "--bucket", "results")
    assert json.loads(done.stdout) == roles.bucket_documents()[1]
    done = iam("s3://orchard/in", "s3://results/out", "--public-access-block")
    assert set(json.loads(done.stdout).values()) == {True}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("s3://bbb/in", "s3://bbb/out"), "Whose policy"),
        (("s3://bbb/in", "s3://bbb/out", "--role", "king"), "--role king"),
        (("s3://bbb/out/in", "s3://bbb/out", "--role", "pipeline"), "INPUT lies within OUTPUT"),
        (("s3://bbb/in", "s3://ccc/out", "--bucket-policy"), "--bucket bbb or --bucket ccc"),
        (("photos", "results", "--bucket-policy"), "Give s3:// addresses"),
        (("photos", "results", "--role", "pipeline"), "on S3"),
        (("s3://bbb/in", "s3://bbb/out", "--role", "reader", "--partition", "x"), "--partition x"),
        (("s3://bbb/in", "s3://bbb/out", "--role", "reader", "--kms-key", "x"), "KMS key"),
    ],
)
def test_misuse_is_told(arguments: tuple[str, ...], told: str) -> None:
    done = iam(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_a_document_that_is_too_long_is_told() -> None:
    done = iam("s3://bbb/in", f"s3://bbb/{'k' * 900}/{'l' * 1_000}", "--role", "reader")
    assert done.returncode == 0
    assert "2,048" in done.stderr
