"""What the answer of an S3 service means for a read, a write, or the whole run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pomona.errors import StorageError

if TYPE_CHECKING:
    from pomona.storage.location import Location

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_REGION = re.compile(r"expecting '([a-z0-9-]+)'|<Region>([a-z0-9-]+)</Region>")

ACCESS_DENIED = "AccessDenied"
NO_BUCKET = "NoSuchBucket"

_WHOLE_RUN = {
    "InvalidAccessKeyId": "the access key is not known there, or was revoked",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "InvalidToken": "the session token is not valid",
    "InvalidClientTokenId": "the access key is not known there",
    "TokenRefreshRequired": "the credentials have to be renewed",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "AuthorizationHeaderMalformed": "the bucket is in another region",
    "PermanentRedirect": "the bucket is in another region",
    "IllegalLocationConstraintException": "the bucket is in another region",
    "AccountProblem": "the account has a problem",
    "AllAccessDisabled": "all access to the bucket is switched off",
    "NotSignedUp": "the account is not signed up for S3",
    NO_BUCKET: "there is no such bucket",
}
"""Codes after which no other request would fare better."""

_FIXES = {
    "RequestTimeTooSkewed": "Set the clock.",
    NO_BUCKET: "Check the spelling of the bucket, and --endpoint-url.",
}
_CREDENTIALS_FIX = (
    "Renew the credentials (AWS_PROFILE, `aws sso login`, keys or role), then run the same "
    "command again: it goes on where it was."
)


def code_of(error: BaseException) -> str:
    """The service's error code; the HTTP status where it gave none, or the error's kind."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", "unknown"))
    text = str(error)
    if "redirect without LOCATION" in text:
        return "PermanentRedirect"
    found = _CODE.search(text) or _STATUS.search(text)
    return found.group(1) if found else type(error).__name__


def explain(error: BaseException) -> str:
    """One line for a message, without the request's URL and the answer's XML."""
    code = code_of(error)
    if code in _WHOLE_RUN:
        return f"{_WHOLE_RUN[code]} ({code})"
    if isinstance(getattr(error, "response", None), dict):
        return code
    # botocore keeps to itself why it could not connect.
    reason = getattr(error, "kwargs", {}).get("error", "")
    text = " ".join(f"{reason} {error}".split())
    for pattern, told in _TOLD:
        if pattern.search(text):
            return told
    return code if code.isdigit() or _CODE.search(text) else text.split(" Debug source")[0][:200]


_TOLD = (
    (re.compile(r"dns error|failed to lookup|failed to resolve", re.IGNORECASE),
     "the host name of the service cannot be resolved"),
    (re.compile(r"Connection refused|ConnectionRefused|Could not connect", re.IGNORECASE),
     "the service does not accept connections"),
    (re.compile(r"operation timed out|TimedOut|ReadTimeout|ConnectTimeout", re.IGNORECASE),
     "the service did not answer in time"),
    (re.compile(r"connection closed before message|IncompleteMessage|connection reset|"
                r"ConnectionReset|response body error|error decoding response body|"
                r"end of file before", re.IGNORECASE),
     "the connection broke in the middle of an answer"),
)  # fmt: skip


def whole_run_failure(error: BaseException, place: Location | str) -> StorageError | None:
    """The error that ends a run, if this answer does; None where it concerns one object."""
    code = code_of(error)
    if code not in _WHOLE_RUN:
        return None
    region = _REGION.search(str(error))
    fix = _FIXES.get(code, _CREDENTIALS_FIX)
    if _WHOLE_RUN[code].endswith("another region"):
        named = next((name for name in region.groups() if name), None) if region else None
        fix = f"Set AWS_REGION to {named}." if named else "Set AWS_REGION to the bucket's region."
    return StorageError(f"{place}: {_WHOLE_RUN[code]} ({code}).", fix)


def failure(verb: str, place: Location | str, error: BaseException) -> StorageError:
    """A request that failed, as one error.

    Args:
        verb: what was tried, such as ``"write"``.
        place: bucket and key.
        error: as obstore or botocore raised it.
    """
    if isinstance(error, StorageError):
        return error
    found = whole_run_failure(error, place)
    if found is not None:
        return found
    code = code_of(error)
    if code in (ACCESS_DENIED, "403", "AllAccessDisabled"):
        return StorageError(
            f"Cannot {verb} {place}: the storage refuses it ({ACCESS_DENIED}).",
            "Check the rights of these credentials with `pomona doctor`, then run the same "
            "command again.",
        )
    return StorageError(
        f"Cannot {verb} {place}: {explain(error)}.",
        "Check the network and the service, then run the same command again: it goes on where "
        "it was.",
    )
