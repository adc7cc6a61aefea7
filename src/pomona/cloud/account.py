"""The AWS account that a command works in, and its refusals told as errors of ours."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pomona.errors import CloudError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-west-1"
"""Ireland. The photographs are people's: they stay in the EU unless somebody says otherwise."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}\Z")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d\Z")
_REFUSED = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "Client.UnauthorizedOperation",
    "403",
}
_UNKNOWN = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


@dataclass(frozen=True)
class Cloud:
    """One cluster's name and region, and from them the name of everything else.

    Attributes:
        name: of the cluster.
        region: that all of it is in.
    """

    name: str
    region: str

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise UsageError(
                f"{self.name!r} is no name for a cluster on AWS.",
                "Take a lower-case letter, then letters, digits and hyphens, at most 20.",
            )
        if not _REGION.match(self.region):
            raise UsageError(f"{self.region!r} is no region.", f"Give one such as {REGION}.")

    @property
    def stack(self) -> str:
        """Name of the CloudFormation stack."""
        return f"pomona-{self.name}"

    @property
    def log_group(self) -> str:
        """Where the runs' words go."""
        return f"/pomona/{self.name}"

    @property
    def master_group(self) -> str:
        """Name of the auto-scaling group of one."""
        return f"pomona-{self.name}-master"

    @property
    def worker_group(self) -> str:
        """Name of the auto-scaling group of the workers."""
        return f"pomona-{self.name}-workers"

    def parameter(self, what: str) -> str:
        """Name of a parameter in the Systems Manager: ``secret`` or ``master``."""
        return f"/pomona/{self.name}/{what}"

    def bucket(self, account: str) -> str:
        """Name of the cluster's own bucket; bucket names are unique in the whole world."""
        return f"pomona-{self.name}-{account}-{self.region}"

    def client(self, service: str) -> Any:
        """A boto3 client in the region, made once."""
        return _client(service, self.region, os.environ.get("AWS_ENDPOINT_URL"))

    def account(self) -> str:
        """The account's number."""
        with asking():
            return str(self.client("sts").get_caller_identity()["Account"])


@lru_cache(maxsize=32)
def _client(service: str, region: str, _endpoint: str | None) -> Any:
    import boto3
    from botocore.config import Config

    with asking():
        return boto3.Session().client(
            service,
            region_name=region,
            config=Config(
                connect_timeout=10, retries={"mode": "standard", "total_max_attempts": 8}
            ),
        )


def forget() -> None:
    """Make clients anew: credentials may have changed."""
    _client.cache_clear()


def code_of(error: Exception) -> str:
    """The code of a refusal, such as ``AccessDenied``; empty for what is no answer of AWS."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


@contextmanager
def asking() -> Iterator[None]:
    """Turn what boto3 raises into one message with a fix.

    Raises:
        CloudError: AWS refused, failed or could not be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except NoCredentialsError as error:
        raise CloudError(
            "No AWS credentials were found.",
            "Run `aws configure` or `aws sso login`, or set AWS_PROFILE.",
        ) from error
    except ClientError as error:
        code, told = code_of(error), error.response.get("Error", {}).get("Message", "")
        what = f"AWS refuses {error.operation_name} ({code}): {' '.join(told.split())[:500]}"
        if code in _REFUSED:
            fix = "`pomona cloud rights` prints the policy that an operator needs."
        elif code in _UNKNOWN:
            fix = "The credentials are unknown or have run out: `aws sso login`, or AWS_PROFILE."
        else:
            fix = ""
        raise CloudError(what.rstrip(".") + ".", fix) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise CloudError(
            f"AWS could not be asked: {' '.join(str(error).split())[:300]}.",
            "Check the network, the region and ~/.aws/config.",
        ) from error
