"""What ``doctor`` finds of the rights of the present credentials, by trying.

Every attempt is harmless: reads and deletes go to made-up keys, and a write is a multipart upload
of a part that was never sent, which no service can complete, and which is aborted. S3 looks at the
rights first: its answer is "access denied", or something else, which then means allowed.
"""

from __future__ import annotations

import json
import secrets
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pomona.access.check import Check, attempt, fail, ok, warn
from pomona.access.policies import Prefix, Role
from pomona.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pomona.storage import Location

_PROBE = "pomona-doctor-"
_REFUSED = ("AccessDenied", "403", "AllAccessDisabled", "UnauthorizedAccess")
_TRIED_IN_VAIN = frozenset(
    ["NoSuchKey", "404", "NoSuchUpload", "InvalidPart", "InvalidRange", "416", "PreconditionFailed"]
)
"""What S3 answers to an allowed attempt on something that is not there."""


@dataclass(frozen=True)
class Right:
    """Something that a role needs, or must not have.

    Attributes:
        what: for people, such as "read INPUT".
        action: as IAM names it.
        place: where it is tried.
        statement: of the role's policy that gives it; empty for what the role must not have.
        kind: of attempt.
    """

    what: str
    action: str
    place: Prefix
    statement: str
    kind: str


def check_credentials(location: Location) -> Check:
    """Where the credentials come from; nothing of themselves is shown."""
    import boto3

    found = boto3.session.Session().get_credentials()
    options = location.options
    if found is None:
        return fail(
            "credentials",
            "none found",
            "Set AWS_PROFILE, run `aws configure` or `aws sso login`, or run where a role is.",
        )
    endpoint = (options.endpoint_url if options else None) or "AWS"
    told = f"from {found.method}; region {options.region if options else None}, {endpoint}"
    if options is not None and options.plain_http:
        return warn("credentials", f"{told}, without TLS", "Give an https:// endpoint.")
    return ok("credentials", told)


def check_rights(
    role: Role,
    source: Location | None,
    output: Location | None,
    *,
    folder: str = "",
    strict: bool = True,
) -> Iterator[Check]:
    """Try what a role needs and what it must not have.

    Args:
        role: whose rights these credentials should have.
        source: INPUT, where it is on S3.
        output: OUTPUT, likewise.
        folder: the uploader's sub-folder of INPUT.
        strict: whether a right too many is a failure, or a warning.

    Yields:
        One check for each right.
    """
    from pomona.storage import aws

    places = {name: Prefix.of(at) if at else None for name, at in (("in", source), ("out", output))}
    wanted = list(needed(role, places["in"], places["out"], folder))
    unwanted = list(forbidden(role, places["in"], places["out"], folder))
    known = next(at for at in (source, output) if at is not None and at.options is not None)
    assert known.options is not None
    client = aws.client(known.options)
    probe = f"{_PROBE}{secrets.token_hex(8)}"
    try:
        for right in wanted:
            yield _judge_needed(client, right, probe)
        excess = []
        for right in unwanted:
            check = _judge_forbidden(client, right, probe)
            if strict or check.mark == "ok":
                yield check
            else:
                excess.append(right.what)
    except StorageError as error:
        # No such bucket, no network, expired credentials: the others would fare no better.
        yield fail("rights", error.what, error.fix)
        return
    if excess:
        yield warn(
            "rights",
            f"these credentials may do more than the {role} has to: {', '.join(excess)}",
            f"Use credentials with the policy that `pomona iam … --role {role}` prints.",
        )
    for bucket in sorted({place.bucket for place in places.values() if place}):
        yield attempt(f"TLS in {bucket}", partial(_check_tls, client, bucket))
        yield attempt(f"public {bucket}", partial(_check_block, client, bucket))


def needed(
    role: Role, source: Prefix | None, output: Prefix | None, folder: str = ""
) -> Iterator[Right]:
    """What a role cannot do without."""
    if role == "pipeline":
        if source is not None:
            yield Right("list INPUT", "s3:ListBucket", source, "ListInput", "list")
            yield Right("read INPUT", "s3:GetObject", source, "ReadInput", "read")
        if output is not None:
            yield Right("list OUTPUT", "s3:ListBucket", output, "ListOutput", "list")
            yield Right("read OUTPUT", "s3:GetObject", output, "WriteOutput", "read")
            yield Right("write OUTPUT", "s3:PutObject", output, "WriteOutput", "replace")
            yield Right("delete in OUTPUT", "s3:DeleteObject", output, "WriteOutput", "delete")
            yield Right(
                "abort in OUTPUT", "s3:AbortMultipartUpload", output, "WriteOutput", "abort"
            )
    elif role == "uploader" and source is not None:
        place = source.below(folder) if folder else source
        yield Right("list folder", "s3:ListBucket", place, "ListFolder", "list")
        yield Right("add to folder", "s3:PutObject", place, "AddToFolder", "add")
        yield Right("send parts", "s3:PutObject", place, "SendParts", "part")
        yield Right("abort in folder", "s3:AbortMultipartUpload", place, "AbortParts", "abort")
    elif role == "reader" and output is not None:
        yield Right("list OUTPUT", "s3:ListBucket", output, "ListOutput", "list")
        yield Right("read OUTPUT", "s3:GetObject", output, "ReadOutput", "read")


def forbidden(
    role: Role, source: Prefix | None, output: Prefix | None, folder: str = ""
) -> Iterator[Right]:
    """What a role must not be able to do, inside and outside of its prefixes."""
    if role == "pipeline" and source is not None:
        yield Right("write to INPUT", "s3:PutObject", source, "", "add")
        yield Right("delete in INPUT", "s3:DeleteObject", source, "", "delete")
    elif role == "uploader" and source is not None:
        place = source.below(folder) if folder else source
        yield Right("replace in folder", "s3:PutObject", place, "", "replace")
        yield Right("read in folder", "s3:GetObject", place, "", "read")
        yield Right("delete in folder", "s3:DeleteObject", place, "", "delete")
        if folder:
            yield Right("add beside folder", "s3:PutObject", source, "", "add")
        if output is not None:
            yield Right("list OUTPUT", "s3:ListBucket", output, "", "list")
            yield Right("read OUTPUT", "s3:GetObject", output, "", "read")
            yield Right("write OUTPUT", "s3:PutObject", output, "", "add")
    elif role == "reader":
        if output is not None:
            yield Right("write OUTPUT", "s3:PutObject", output, "", "add")
            yield Right("delete in OUTPUT", "s3:DeleteObject", output, "", "delete")
        if source is not None:
            yield Right("list INPUT", "s3:ListBucket", source, "", "list")
            yield Right("read INPUT", "s3:GetObject", source, "", "read")
            yield Right("write to INPUT", "s3:PutObject", source, "", "add")
    whole = {place.bucket for place in (source, output) if place and not place.key}
    for bucket in sorted({place.bucket for place in (source, output) if place} - whole):
        yield Right(f"list {bucket}", "s3:ListBucket", Prefix(bucket), "", "list")
        elsewhere = Prefix(bucket, f"{_PROBE}{secrets.token_hex(4)}")
        yield Right(f"list in {bucket}", "s3:ListBucket", elsewhere, "", "list")
        yield Right(f"read in {bucket}", "s3:GetObject", elsewhere, "", "read")
        yield Right(f"write in {bucket}", "s3:PutObject", elsewhere, "", "add")
        yield Right(f"delete in {bucket}", "s3:DeleteObject", elsewhere, "", "delete")
    first = source or output
    if first is not None:
        yield Right("list buckets", "s3:ListAllMyBuckets", first, "", "buckets")


def _judge_needed(client: Any, right: Right, probe: str) -> Check:
    if _allowed(client, right, probe):
        return ok(right.what, f"allowed, as it has to be ({right.statement})")
    return fail(
        right.what,
        f"refused: {right.action} on {_where(right)}; the statement {right.statement} is missing, "
        "or means another place",
        "Attach the policy that `pomona iam` prints for this role.",
    )


def _judge_forbidden(client: Any, right: Right, probe: str) -> Check:
    if not _allowed(client, right, probe):
        return ok(right.what, "refused, as it should be")
    return fail(
        right.what,
        f"allowed, which is too much: a statement gives {right.action} on {_where(right)}",
        "Narrow it, or replace it by the policy that `pomona iam` prints for this role.",
    )


def _allowed(client: Any, right: Right, probe: str) -> bool:
    """Whether the service lets an attempt pass.

    Raises:
        StorageError: it could not be found out, for instance since there is no such bucket.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    from pomona.storage import answers

    place = right.place
    key = f"{place.key}/{probe}".lstrip("/")
    try:
        _ATTEMPTS[right.kind](client, place, key)
    except ClientError as error:
        code = answers.code_of(error)
        if code in _REFUSED:
            return False
        if code in _TRIED_IN_VAIN:
            return True
        raise answers.failure("try", str(place), error) from error
    except BotoCoreError as error:
        raise answers.failure("try", str(place), error) from error
    return True


def _list(client: Any, place: Prefix, _key: str) -> None:
    prefix = f"{place.key}/" if place.key else ""
    client.list_objects_v2(Bucket=place.bucket, Prefix=prefix, MaxKeys=1)


def _read(client: Any, place: Prefix, key: str) -> None:
    client.get_object(Bucket=place.bucket, Key=key)["Body"].close()


def _part(client: Any, place: Prefix, key: str) -> None:
    with _upload(client, place, key):
        pass


def _add(client: Any, place: Prefix, key: str) -> None:
    with _upload(client, place, key) as upload:
        client.complete_multipart_upload(**upload, IfNoneMatch="*", MultipartUpload=_NEVER_SENT)


def _replace(client: Any, place: Prefix, key: str) -> None:
    with _upload(client, place, key) as upload:
        client.complete_multipart_upload(**upload, MultipartUpload=_NEVER_SENT)


@contextmanager
def _upload(client: Any, place: Prefix, key: str) -> Iterator[dict[str, str]]:
    """A multipart upload that is begun, and aborted in the end."""
    from botocore.exceptions import ClientError

    begun = client.create_multipart_upload(Bucket=place.bucket, Key=key)
    upload = {"Bucket": place.bucket, "Key": key, "UploadId": begun["UploadId"]}
    try:
        yield upload
    finally:
        with suppress(ClientError):
            client.abort_multipart_upload(**upload)


def _abort(client: Any, place: Prefix, key: str) -> None:
    client.abort_multipart_upload(Bucket=place.bucket, Key=key, UploadId="pomona-doctor")


def _delete(client: Any, place: Prefix, key: str) -> None:
    done = client.delete_object(Bucket=place.bucket, Key=key)
    if done.get("DeleteMarker"):
        # A versioned bucket notes even the deletion of what never was; take the note away again.
        from botocore.exceptions import ClientError

        with suppress(ClientError):
            client.delete_object(Bucket=place.bucket, Key=key, VersionId=done["VersionId"])


def _buckets(client: Any, _place: Prefix, _key: str) -> None:
    client.list_buckets(MaxBuckets=1)


_NEVER_SENT = {"Parts": [{"ETag": f'"{"0" * 32}"', "PartNumber": 1}]}
_ATTEMPTS: dict[str, Callable[[Any, Prefix, str], None]] = {
    "list": _list,
    "read": _read,
    "replace": _replace,
    "add": _add,
    "part": _part,
    "abort": _abort,
    "delete": _delete,
    "buckets": _buckets,
}


def _check_tls(client: Any, bucket: str) -> Check:
    """Whether the bucket's policy refuses plain http, if these credentials may look at it."""
    from botocore.exceptions import ClientError

    name = f"TLS in {bucket}"
    fix = "aws s3api put-bucket-policy with what `pomona iam … --bucket-policy` prints."
    try:
        policy = json.loads(client.get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _REFUSED:
            return ok(name, "these credentials may not look at the bucket's policy")
        if code == "NoSuchBucketPolicy":
            return warn(name, "the bucket has no policy, so plain http is not refused", fix)
        return warn(name, f"the bucket's policy cannot be read ({code})", fix)
    if any(_denies_plain_http(statement) for statement in _as_list(policy.get("Statement", []))):
        return ok(name, "the bucket refuses plain http")
    return warn(name, "the bucket's policy does not refuse plain http", fix)


def _denies_plain_http(statement: dict[str, Any]) -> bool:
    condition = statement.get("Condition", {}).get("Bool", {})
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and "s3:*" in _as_list(statement.get("Action", []))
        and str(condition.get("aws:SecureTransport")).lower() == "false"
    )


def _check_block(client: Any, bucket: str) -> Check:
    """Whether the bucket can become public, if these credentials may look."""
    from botocore.exceptions import ClientError

    name = f"public {bucket}"
    fix = "aws s3api put-public-access-block with what `pomona iam … --public-access-block` prints."
    try:
        block = client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in _REFUSED:
            return ok(name, "these credentials may not look at the public access block")
        return warn(name, f"the bucket has no public access block ({code})", fix)
    if all(block.values()) and len(block) == 4:
        return ok(name, "the bucket cannot become public")
    missing = ", ".join(sorted(key for key, value in block.items() if not value))
    return warn(name, f"the public access block leaves out {missing}", fix)


def _where(right: Right) -> str:
    """Where a right holds, or is missing, for people."""
    bucket, key = right.place.bucket, right.place.key
    if right.kind == "buckets":
        return "the account"
    if key.startswith(_PROBE):
        return f"{bucket}, outside of INPUT and OUTPUT"
    if right.kind == "list":
        return f"{bucket} with the prefix {key}/" if key else f"the whole bucket {bucket}"
    return f"{bucket}/{key}/*" if key else f"{bucket}/*"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
