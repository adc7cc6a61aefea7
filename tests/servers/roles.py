"""What each role may do and must not do: one list, for the tests and for the printed table."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pomona.access.policies import (
    Prefix,
    Terms,
    bucket_policy,
    pipeline_policy,
    reader_policy,
    uploader_policy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from pomona.access.policies import Document, Role

INPUT, OUTPUT = Prefix("orchard", "in"), Prefix("results", "out")
FOLDER = INPUT.below("new")
OBJECTS = [
    ("orchard", "in/a.jpg"),
    ("orchard", "in/new/b.jpg"),
    ("orchard", "in-secret/c.jpg"),
    ("orchard", "other/d.jpg"),
    ("results", "out/report.html"),
    ("results", "private.txt"),
]
NEW = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}
OVER = {"s3:ObjectCreationOperation": "true"}
PART = {"s3:ObjectCreationOperation": "false"}


def documents(terms: Terms | None = None) -> dict[Role, Document]:
    """The policy of each role."""
    terms = terms or Terms()
    return {
        "pipeline": pipeline_policy(INPUT, OUTPUT, terms),
        "uploader": uploader_policy(FOLDER, terms),
        "reader": reader_policy(OUTPUT, terms),
    }


def bucket_documents() -> list[Document]:
    """The policies of both buckets."""
    return [bucket_policy("orchard"), bucket_policy("results")]


@dataclass(frozen=True)
class Attempt:
    """One request.

    Attributes:
        what: for people.
        action: as IAM names it.
        resource: what follows ``arn:aws:s3:::``.
        allowed: the roles that may.
        context: condition keys that the request carries, besides TLS.
        call: the request; None where moto has no such call or cannot judge it, since the answer
            depends on a condition.
        tls: whether it is sent over TLS, in the literal reading.
        unsure: roles for which a condition decides, so that moto's answer says nothing.
    """

    what: str
    action: str
    resource: str
    allowed: tuple[Role, ...] = ()
    context: dict[str, str] = field(default_factory=dict)
    call: Callable[[Any], object] | None = None
    tls: bool = True
    unsure: tuple[Role, ...] = ()

    def judged(self, role: Role) -> bool:
        """Whether moto can judge it for a role."""
        return self.call is not None and role not in self.unsure


def _list(
    what: str, place: str, prefix: str | None, *allowed: Role, unsure: tuple[Role, ...] = ()
) -> Attempt:
    arguments = {} if prefix is None else {"Prefix": prefix}
    return Attempt(
        what,
        "s3:ListBucket",
        place,
        allowed,
        arguments and {"s3:prefix": arguments["Prefix"]},
        lambda s3: s3.list_objects_v2(Bucket=place, **arguments),
        unsure=unsure,
    )


def _get(what: str, bucket: str, key: str, *allowed: Role) -> Attempt:
    return Attempt(
        what,
        "s3:GetObject",
        f"{bucket}/{key}",
        allowed,
        call=lambda s3: s3.get_object(Bucket=bucket, Key=key),
    )


def _put(what: str, bucket: str, key: str, *allowed: Role) -> Attempt:
    return Attempt(
        what,
        "s3:PutObject",
        f"{bucket}/{key}",
        allowed,
        NEW,
        lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=b"x", IfNoneMatch="*"),
    )


def _delete(what: str, bucket: str, key: str, *allowed: Role) -> Attempt:
    return Attempt(
        what,
        "s3:DeleteObject",
        f"{bucket}/{key}",
        allowed,
        call=lambda s3: s3.delete_object(Bucket=bucket, Key=key),
    )


def _parts(what: str, bucket: str, key: str, *allowed: Role) -> Attempt:
    def call(s3: Any) -> None:
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)

    return Attempt(what, "s3:PutObject", f"{bucket}/{key}", allowed, PART, call)


_BOTH_LIST_INPUT: tuple[Role, ...] = ("pipeline", "uploader")
_BOTH_LIST_OUTPUT: tuple[Role, ...] = ("pipeline", "reader")
ATTEMPTS = [
    _list("list INPUT", "orchard", "in/", "pipeline", unsure=("uploader",)),
    _list("list the uploader's folder", "orchard", "in/new/", "pipeline", "uploader"),
    _list("list OUTPUT", "results", "out/", "pipeline", "reader"),
    _list("list INPUT's bucket", "orchard", None, unsure=_BOTH_LIST_INPUT),
    _list("list names beginning with INPUT's", "orchard", "in", unsure=_BOTH_LIST_INPUT),
    _list("list another prefix", "orchard", "other/", unsure=_BOTH_LIST_INPUT),
    _list("list OUTPUT's bucket", "results", "", unsure=_BOTH_LIST_OUTPUT),
    Attempt("list the account's buckets", "s3:ListAllMyBuckets", "*",
            call=lambda s3: s3.list_buckets()),
    _get("read in INPUT", "orchard", "in/a.jpg", "pipeline"),
    _get("read in the uploader's folder", "orchard", "in/new/b.jpg", "pipeline"),
    _get("read beside INPUT", "orchard", "in-secret/c.jpg"),
    _get("read elsewhere in INPUT's bucket", "orchard", "other/d.jpg"),
    _get("read in OUTPUT", "results", "out/report.html", "pipeline", "reader"),
    _get("read elsewhere in OUTPUT's bucket", "results", "private.txt"),
    _put("add to INPUT", "orchard", "in/new.jpg"),
    _put("add to the uploader's folder", "orchard", "in/new/new.jpg", "uploader"),
    Attempt("overwrite in the uploader's folder", "s3:PutObject", "orchard/in/new/b.jpg", (), OVER),
    _put("write elsewhere in INPUT's bucket", "orchard", "other/new.jpg"),
    _put("write in OUTPUT", "results", "out/new", "pipeline"),
    Attempt("overwrite in OUTPUT", "s3:PutObject", "results/out/report.html", ("pipeline",), OVER,
            lambda s3: s3.put_object(Bucket="results", Key="out/report.html", Body=b"x")),
    _put("write elsewhere in OUTPUT's bucket", "results", "new.txt"),
    _parts("send and abort parts in INPUT", "orchard", "in/big"),
    _parts("send and abort parts in the folder", "orchard", "in/new/big", "uploader"),
    _parts("send and abort parts in OUTPUT", "results", "out/big", "pipeline"),
    Attempt("abort parts in the folder", "s3:AbortMultipartUpload", "orchard/in/new/big",
            ("uploader",)),
    Attempt("abort parts in OUTPUT", "s3:AbortMultipartUpload", "results/out/big", ("pipeline",)),
    _delete("delete in INPUT", "orchard", "in/a.jpg"),
    _delete("delete in the uploader's folder", "orchard", "in/new/b.jpg"),
    _delete("delete in OUTPUT", "results", "out/report.html", "pipeline"),
    _delete("delete elsewhere in OUTPUT's bucket", "results", "private.txt"),
    Attempt("delete a version in OUTPUT", "s3:DeleteObjectVersion", "results/out/report.html"),
    Attempt("read INPUT's bucket policy", "s3:GetBucketPolicy", "orchard",
            call=lambda s3: s3.get_bucket_policy(Bucket="orchard")),
    Attempt("change OUTPUT's bucket policy", "s3:PutBucketPolicy", "results",
            call=lambda s3: s3.put_bucket_policy(Bucket="results", Policy="{}")),
    Attempt("make an object public", "s3:PutObjectAcl", "results/out/report.html",
            call=lambda s3: s3.put_object_acl(
                Bucket="results", Key="out/report.html", ACL="public-read")),
    Attempt("delete OUTPUT's bucket", "s3:DeleteBucket", "results",
            call=lambda s3: s3.delete_bucket(Bucket="results")),
    Attempt("read in INPUT without TLS", "s3:GetObject", "orchard/in/a.jpg", tls=False),
    Attempt("read in OUTPUT without TLS", "s3:GetObject", "results/out/report.html", tls=False),
    Attempt("write in OUTPUT without TLS", "s3:PutObject", "results/out/new", (), NEW, tls=False),
]  # fmt: skip


def prepare(url: str) -> None:
    """Both buckets with their objects, on an empty server that does not enforce anything."""
    owner = client(url, {"aws_access_key_id": "AKIAOWNER00000000000", "aws_secret_access_key": "x"})
    for bucket in ("orchard", "results"):
        owner.create_bucket(Bucket=bucket)
    for bucket, key in OBJECTS:
        owner.put_object(Bucket=bucket, Key=key, Body=key.encode())


def client(url: str, keys: dict[str, str]) -> Any:
    """A boto3 client of one user."""
    import boto3

    return boto3.client("s3", endpoint_url=url, region_name="us-east-1", **keys)


def verdict_of_server(s3: Any, attempt: Attempt) -> bool:
    """Whether the server let the request through."""
    from botocore.exceptions import ClientError

    assert attempt.call is not None
    try:
        attempt.call(s3)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("AccessDenied", "403"):
            return False
        raise
    return True
