"""Credentials and settings, both through boto3's own chain.

Nothing here stores a credential: a session holds what boto3 found, in this process, and renews it
when it runs out. Workers ask their own chain.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pomona.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import S3Credential

    from pomona.storage.options import StorageOptions

_AWS_HOST = re.compile(r"^https://s3\.([a-z0-9-]+\.)?amazonaws\.com(\.cn)?/?$")
_GLOBAL = "aws-global"
"""What botocore calls the region where none is set."""
_DEFAULT_REGION = "us-east-1"

CONNECT_SECONDS = 5
REQUEST_SECONDS = 900
"""Longest time for one answer: 64 MiB at 75 kB/s."""
RETRIES = 20
"""More than fit into the time that is allowed for them."""
LONGEST_PAUSE = 10
"""Seconds between two attempts, at most; the first pause is 0.1 s, then each is twice as long."""

_SOON = 60
"""Credentials that run out within so many seconds are asked for at every request."""
_TRUSTED = timedelta(seconds=60)
_CACHE_MARGIN = timedelta(minutes=5)
"""obstore's cache gives a credential up this long before it expires."""

_lock = threading.Lock()


@lru_cache(maxsize=32)
def resolve(options: StorageOptions) -> StorageOptions:
    """Fill in endpoint, region and addressing from the AWS settings, as botocore reads them.

    What was asked for comes first, then the environment (``AWS_ENDPOINT_URL_S3``,
    ``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_DEFAULT_REGION``), then the profile in
    ``~/.aws/config``.

    Raises:
        StorageError: the AWS settings cannot be read.
    """
    if options.region is not None:
        return options
    from botocore.exceptions import BotoCoreError

    try:
        client = _bare_client(options)
    except (BotoCoreError, ValueError) as error:
        raise StorageError(
            f"The AWS settings cannot be used: {' '.join(str(error).split())[:300]}.",
            "Check --endpoint-url, the environment (AWS_...) and ~/.aws/config.",
        ) from error
    region = client.meta.region_name
    endpoint = client.meta.endpoint_url
    style = (client.meta.config.s3 or {}).get("addressing_style")
    ours = _AWS_HOST.match(endpoint) is None
    return replace(
        options,
        region=_DEFAULT_REGION if region in (None, _GLOBAL) else region,
        endpoint_url=endpoint if ours else None,
        path_style=style == "path" or (ours and style != "virtual"),
    )


@lru_cache(maxsize=8)
def client(options: StorageOptions) -> Any:
    """A boto3 S3 client for what obstore has no call for; safe to share between threads."""
    from botocore.config import Config

    with _lock:
        return _session().client(
            "s3",
            endpoint_url=options.endpoint_url,
            region_name=options.region,
            config=Config(
                max_pool_connections=64,
                connect_timeout=CONNECT_SECONDS,
                read_timeout=options.silence_seconds,
                retries={"mode": "standard", "total_max_attempts": _attempts(options)},
                s3={"addressing_style": "path" if options.path_style else "virtual"},
            ),
        )


class Credentials:
    """What obstore calls for a credential: boto3's present one, renewed by boto3 itself."""

    def __init__(self) -> None:
        found = _session().get_credentials()
        if found is None:
            raise StorageError(
                "No AWS credentials were found.",
                "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, run "
                "`aws configure` or `aws sso login`, or run where a role provides them.",
            )
        self._found = found

    def __call__(self) -> S3Credential:
        """Access key, secret, token, and until when obstore may keep them."""
        frozen = self._found.get_frozen_credentials()
        now = datetime.now(UTC)
        refresh_needed = getattr(self._found, "refresh_needed", None)
        if refresh_needed is None:
            expires = None
        elif refresh_needed(refresh_in=_SOON):
            expires = now
        else:
            expires = now + _CACHE_MARGIN + _TRUSTED
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires,
        }


@lru_cache(maxsize=1)
def credentials() -> Credentials:
    """The provider of this process.

    Raises:
        StorageError: boto3 finds none.
    """
    from botocore.exceptions import BotoCoreError

    try:
        return Credentials()
    except BotoCoreError as error:
        raise StorageError(
            f"The AWS credentials cannot be used: {' '.join(str(error).split())[:300]}.",
            "Check AWS_PROFILE and ~/.aws/config; for SSO run `aws sso login`.",
        ) from error


def forget() -> None:
    """Read the AWS settings and credentials anew at the next request."""
    for cached in (resolve, client, credentials, _session):
        cached.cache_clear()


@lru_cache(maxsize=1)
def _session() -> Any:
    import boto3

    return boto3.session.Session()


def _bare_client(options: StorageOptions) -> Any:
    """A client that is only looked at: no credentials are searched for."""
    from botocore import UNSIGNED
    from botocore.config import Config

    # Every other AWS library reads AWS_REGION; botocore reads AWS_DEFAULT_REGION alone.
    return _session().client(
        "s3",
        endpoint_url=options.endpoint_url,
        region_name=os.environ.get("AWS_REGION") or None,
        config=Config(signature_version=UNSIGNED),
    )


def _attempts(options: StorageOptions) -> int:
    """Botocore waits up to 1, 2, 4, ... 20 s between attempts."""
    attempts, waited = 1, 0
    while waited < options.retry_seconds:
        waited += min(2 ** (attempts - 1), 20)
        attempts += 1
    return attempts
