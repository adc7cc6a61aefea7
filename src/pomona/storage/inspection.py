"""What an object says of its own content, where its ETag does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.storage import answers, aws

if TYPE_CHECKING:
    from pomona.storage.location import Location

SHA256 = "sha256"
"""Metadata that every object carries which we send; it outlives encryption and parts."""

_NOTHING_TO_SEE = ("403", "404", answers.ACCESS_DENIED, "NoSuchKey")


@dataclass(frozen=True)
class Inspection:
    """An object's head.

    Attributes:
        encrypted: with a key of KMS or of the customer, so that its ETag is no checksum.
        opaque: whether its ETag alone cannot prove that a file is another one: it is encrypted,
            or was sent in parts.
        sha256: of its content, as noted when it was sent.
    """

    encrypted: bool
    opaque: bool
    sha256: str | None


def inspect(place: Location) -> Inspection | None:
    """The head of an object; None where there is none, or these credentials may not look.

    Raises:
        StorageError: the storage fails.
    """
    if place.options is None:
        raise ValueError("an s3 location needs options")
    try:
        head = aws.client(place.options).head_object(Bucket=place.bucket, Key=place.key)
    except Exception as error:
        if answers.code_of(error) in _NOTHING_TO_SEE:
            return None
        raise answers.failure("look at", str(place), error) from error
    encryption = head.get("ServerSideEncryption", "")
    encrypted = encryption.startswith("aws:kms") or "SSECustomerAlgorithm" in head
    return Inspection(encrypted, encrypted or "-" in head["ETag"], head["Metadata"].get(SHA256))
