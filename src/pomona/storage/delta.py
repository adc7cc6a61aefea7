"""What the deltalake library is told about a table's storage."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pomona.errors import UsageError
from pomona.storage import aws

if TYPE_CHECKING:
    from pomona.storage.location import Location

_UNSPEAKABLE = re.compile(r"%[0-9A-Fa-f]{2}|\\|//")


def delta_options(location: Location) -> dict[str, str] | None:
    """Options with the present credentials; others follow when boto3 has renewed them.

    A commit is one conditional put of the next entry of the log, so that no DynamoDB table is
    needed. A service that ignores the condition will do for a sole writer; deltalake has no way to
    commit on one that refuses such requests.

    Args:
        location: of the table.

    Returns:
        For ``storage_options``; None for a local table. They hold the credentials: never log
        them.

    Raises:
        UsageError: the prefix cannot be a table's.
        StorageError: boto3 has no credentials.
    """
    options = location.options
    if options is None:
        return None
    if _UNSPEAKABLE.search(location.key):
        raise UsageError(
            f"OUTPUT may not have a backslash or %XX in its prefix: {location}",
            "Choose another OUTPUT.",
        )
    found = aws.credentials()()
    url = options.url_of(location.bucket)
    told = {
        "aws_access_key_id": found["access_key_id"],
        "aws_secret_access_key": found["secret_access_key"],
        "aws_region": options.region or "",
        "aws_endpoint_url": url,
        "aws_endpoint_url_s3": url,
        "aws_virtual_hosted_style_request": str(not options.path_style).lower(),
        "aws_allow_http": str(options.plain_http).lower(),
        "aws_conditional_put": "etag",
        "connect_timeout": f"{aws.CONNECT_SECONDS}s",
        "read_timeout": f"{options.silence_seconds}s",
        "timeout": f"{aws.REQUEST_SECONDS}s",
        "max_retries": str(aws.RETRIES),
        "retry_timeout": f"{options.retry_seconds}s",
        "backoff_config.max_backoff": f"{aws.LONGEST_PAUSE}s",
    }
    if found["token"]:
        told["aws_session_token"] = found["token"]
    if options.sse:
        told["aws_server_side_encryption"] = options.sse
    if options.kms_key:
        told["aws_sse_kms_key_id"] = options.kms_key
    return told
