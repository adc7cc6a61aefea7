"""The smallest policies that let each role do its work: pure functions, JSON-ready dictionaries.

Each allowed S3 action requires TLS in its own condition, so that a role's document stands alone;
:func:`bucket_policy` denies plain http to everybody else as well. The names of actions and
condition keys are those of the AWS service authorization reference; ``docs/security.md`` says what
each statement is for.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from pomona.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.storage import Location

Role = Literal["pipeline", "uploader", "reader"]
Partition = Literal["aws", "aws-cn", "aws-us-gov"]
Document = dict[str, Any]

ROLES: tuple[Role, ...] = get_args(Role)
PARTITIONS: tuple[Partition, ...] = get_args(Partition)

MANAGED_LIMIT = 6_144
"""Characters, without white space, of a managed policy."""
USER_LIMIT = 2_048
"""Likewise of all inline policies of a user; a role's may have 10,240."""

_VERSION = "2012-10-17"
_TLS = {"Bool": {"aws:SecureTransport": "true"}}
_KEY_ARN = re.compile(r"^arn:(aws[a-z-]*):kms:([a-z0-9-]+):\d{12}:key/[A-Za-z0-9-]+$")
_SPECIAL = re.compile(r"[*?$]")
_LAST_CHARACTER = "\xff"
"""IAM takes no policy with characters beyond it."""


@dataclass(frozen=True)
class Prefix:
    """Where in S3 a role works.

    Attributes:
        bucket: its name.
        key: prefix without slashes at its ends; empty for the whole bucket.
    """

    bucket: str
    key: str = ""

    @classmethod
    def of(cls, location: Location) -> Prefix | None:
        """The prefix of an ``s3`` location; None for a local one."""
        return cls(location.bucket, location.key) if location.scheme == "s3" else None

    def below(self, folder: str) -> Prefix:
        """A sub-folder of this prefix.

        Raises:
            UsageError: it would lie elsewhere.
        """
        parts = folder.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise UsageError(f"{folder!r} is no sub-folder.", "Give a name such as 2026-11.")
        return Prefix(self.bucket, "/".join(filter(None, [self.key, *parts])))

    def holds(self, other: Prefix) -> bool:
        """Whether ``other`` is this prefix or lies below it."""
        if self.bucket != other.bucket:
            return False
        return not self.key or f"{other.key}/".startswith(f"{self.key}/")

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}".rstrip("/")


@dataclass(frozen=True)
class Terms:
    """What the statements of a policy have in common.

    Attributes:
        partition: of AWS, the second part of every ARN.
        kms_keys: ARNs of the keys that the buckets are encrypted with.
        tls: whether plain http is refused; test servers on loopback may need it off.
    """

    partition: Partition = "aws"
    kms_keys: tuple[str, ...] = ()
    tls: bool = True


def pipeline_policy(source: Prefix | None, output: Prefix | None, terms: Terms) -> Document:
    """List and read INPUT; list, read, write and delete in OUTPUT.

    Args:
        source: INPUT, None where it is not on S3.
        output: OUTPUT, likewise.
        terms: in common.

    Raises:
        UsageError: INPUT lies in OUTPUT, where it could be overwritten, or neither is on S3.
    """
    if source is not None and output is not None and output.holds(source):
        raise UsageError(
            f"INPUT lies within OUTPUT: {source} in {output}; the pipeline could delete images.",
            "Choose an OUTPUT beside INPUT.",
        )
    statements = []
    if source is not None:
        statements += [
            _listing("ListInput", source, terms),
            _on_objects("ReadInput", ["s3:GetObject"], source, terms, itself=True),
        ]
    if output is not None:
        actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        statements += [
            _listing("ListOutput", output, terms),
            _on_objects("WriteOutput", actions, output, terms),
        ]
    return _document(statements, ["kms:Decrypt", "kms:GenerateDataKey"], terms)


def uploader_policy(folder: Prefix | None, terms: Terms, *, overwrite: bool = False) -> Document:
    """Add objects under one folder: list it and put there, but neither read nor delete.

    Args:
        folder: INPUT, or the sub-folder of it.
        terms: in common.
        overwrite: whether present objects may be replaced. Where not, each put has to carry
            ``If-None-Match``, which services other than AWS may not be able to demand.

    Raises:
        UsageError: the folder is not on S3.
    """
    if folder is None:
        raise UsageError("The uploader's INPUT is not on S3.", "pomona iam s3://… s3://… --role …")
    statements = [_listing("ListFolder", folder, terms)]
    if overwrite:
        statements.append(_on_objects("AddToFolder", ["s3:PutObject"], folder, terms))
    else:
        added = _on_objects("AddToFolder", ["s3:PutObject"], folder, terms)
        # Starting a multipart upload and sending its parts cannot carry If-None-Match; completing
        # it, which is when the object appears, can and has to.
        parts = _on_objects("SendParts", ["s3:PutObject"], folder, terms)
        _require(added, "Null", "s3:if-none-match", "false")
        _require(parts, "Bool", "s3:ObjectCreationOperation", "false")
        statements += [added, parts]
    statements.append(_on_objects("AbortParts", ["s3:AbortMultipartUpload"], folder, terms))
    # S3 decrypts the parts of a multipart upload to put them together.
    return _document(statements, ["kms:Decrypt", "kms:GenerateDataKey"], terms)


def reader_policy(output: Prefix | None, terms: Terms) -> Document:
    """List and read OUTPUT.

    Raises:
        UsageError: OUTPUT is not on S3.
    """
    if output is None:
        raise UsageError("The reader's OUTPUT is not on S3.", "pomona iam s3://… s3://… --role …")
    statements = [
        _listing("ListOutput", output, terms),
        _on_objects("ReadOutput", ["s3:GetObject"], output, terms),
    ]
    return _document(statements, ["kms:Decrypt"], terms)


def bucket_policy(bucket: str, partition: Partition = "aws") -> Document:
    """What the bucket itself refuses: anything without TLS, from anybody."""
    arn = f"arn:{partition}:s3:::{bucket}"
    return {
        "Version": _VERSION,
        "Statement": [
            {
                "Sid": "DenyPlainHttp",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def public_access_block() -> dict[str, bool]:
    """The configuration that keeps a bucket from ever becoming public."""
    return dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )


def size_of(document: Document) -> int:
    """Characters as IAM counts them: without white space."""
    return len(re.sub(r"\s", "", json.dumps(document)))


def _listing(sid: str, place: Prefix, terms: Terms) -> Document:
    """List what lies below a prefix; the bare prefix ``in`` would show ``in-other/`` as well."""
    statement = _statement(sid, ["s3:ListBucket"], [_arn(place.bucket, None, terms)], terms)
    if place.key:
        _require(statement, "StringLike", "s3:prefix", f"{_literal(place.key)}/*")
    return statement


def _on_objects(
    sid: str, actions: Sequence[str], place: Prefix, terms: Terms, *, itself: bool = False
) -> Document:
    """Actions on the objects below a prefix, and on the object of that very key (INPUT is one)."""
    below = f"{_literal(place.key)}/*" if place.key else "*"
    resources = [_arn(place.bucket, below, terms)]
    if itself and place.key:
        resources.insert(0, _arn(place.bucket, _literal(place.key), terms))
    return _statement(sid, actions, resources, terms)


def _statement(
    sid: str, actions: Sequence[str], resources: Sequence[str], terms: Terms
) -> Document:
    statement: Document = {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions) if len(actions) > 1 else actions[0],
        "Resource": list(resources) if len(resources) > 1 else resources[0],
    }
    if terms.tls:
        statement["Condition"] = {operator: dict(keys) for operator, keys in _TLS.items()}
    return statement


def _require(statement: Document, operator: str, key: str, value: str) -> None:
    statement.setdefault("Condition", {}).setdefault(operator, {})[key] = value


def _arn(bucket: str, key: str | None, terms: Terms) -> str:
    arn = f"arn:{terms.partition}:s3:::{bucket}"
    return arn if key is None else f"{arn}/{key}"


def _literal(key: str) -> str:
    """A key as a policy means it literally: ``*``, ``?`` and ``$`` are written ``${*}`` and so on.

    Raises:
        UsageError: IAM has no way to write it.
    """
    if any(character > _LAST_CHARACTER or not character.isprintable() for character in key):
        raise UsageError(
            f"IAM policies cannot name the prefix {key!r}: they hold Latin characters alone.",
            "Choose a prefix of letters, digits and signs up to U+00FF.",
        )
    return _SPECIAL.sub(lambda found: f"${{{found.group()}}}", key)


def _document(statements: list[Document], kms_actions: list[str], terms: Terms) -> Document:
    if not statements:
        raise UsageError("Neither INPUT nor OUTPUT is on S3.", "pomona iam s3://… s3://… --role …")
    for index, arn in enumerate(terms.kms_keys):
        statements.append(
            {
                "Sid": "UseKey" if len(terms.kms_keys) == 1 else f"UseKey{index + 1}",
                "Effect": "Allow",
                "Action": kms_actions if len(kms_actions) > 1 else kms_actions[0],
                "Resource": arn,
                "Condition": {"StringEquals": {"kms:ViaService": _s3_of(arn, terms.partition)}},
            }
        )
    return {"Version": _VERSION, "Statement": statements}


def _s3_of(key_arn: str, partition: Partition) -> str:
    """S3 as KMS names it in the key's region.

    Raises:
        UsageError: not the ARN of a key of this partition.
    """
    match = _KEY_ARN.match(key_arn)
    if match is None or match.group(1) != partition:
        raise UsageError(
            f"{key_arn} is not the ARN of a KMS key in the partition {partition}.",
            f"Give arn:{partition}:kms:REGION:ACCOUNT:key/ID; an alias cannot be named in IAM.",
        )
    return f"s3.{match.group(2)}.amazonaws.com" + (".cn" if partition == "aws-cn" else "")
