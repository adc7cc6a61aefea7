"""How an S3 service is spoken to: everything but the credentials, small enough to travel."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class StorageOptions:
    """Carried by every S3 location to the workers. It never holds a credential.

    Attributes:
        endpoint_url: of a service that is not AWS; None for AWS.
        region: that requests are signed for; None until :func:`pomona.storage.aws.resolve` has
            asked the AWS settings for it.
        path_style: whether the bucket stands in the path of the URL, not in its host name.
        sse: server-side encryption asked for in every write: ``AES256``, ``aws:kms`` or
            ``aws:kms:dsse``; None leaves it to the bucket.
        kms_key: identity of the KMS key for it.
        sole_writer: whether the user vouches that nobody else writes to OUTPUT, so that a service
            without conditional writes will do.
        retry_seconds: how long a failing request is tried again.
        silence_seconds: how long an answer may stand still before it counts as failed.
    """

    endpoint_url: str | None = None
    region: str | None = None
    path_style: bool = False
    sse: str | None = None
    kms_key: str | None = None
    sole_writer: bool = False
    retry_seconds: int = 120
    silence_seconds: int = 20

    @property
    def plain_http(self) -> bool:
        """Whether the endpoint was given as ``http://``; nothing else allows that."""
        return self.endpoint_url is not None and self.endpoint_url.lower().startswith("http://")

    def by_path(self) -> StorageOptions:
        """The same with the bucket in the path."""
        return replace(self, path_style=True)

    def url_of(self, bucket: str) -> str:
        """The URL that keys of a bucket are appended to."""
        if self.endpoint_url is None:
            suffix = ".cn" if (self.region or "").startswith("cn-") else ""
            host = f"s3.{self.region}.amazonaws.com{suffix}"
            return f"https://{host}" if self.path_style else f"https://{bucket}.{host}"
        if self.path_style:
            return self.endpoint_url.rstrip("/")
        scheme, _, host = self.endpoint_url.rstrip("/").partition("://")
        return f"{scheme}://{bucket}.{host}"
