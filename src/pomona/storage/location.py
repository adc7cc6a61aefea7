"""Where data lies: one value for a local path and for an address in a bucket."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from pomona.errors import UsageError
from pomona.storage.options import StorageOptions

if TYPE_CHECKING:
    from pathlib import Path

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)
_FILE = re.compile(r"^file:/(?!/)", re.IGNORECASE)
_BUCKET = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
_S3 = ("s3", "s3a", "s3n")
"""The last two are what Hadoop calls it."""


@dataclass(frozen=True)
class Location:
    """A folder or file, as the user names it.

    Attributes:
        scheme: ``"file"`` or ``"s3"``.
        path: for ``file`` an absolute path, for ``s3`` the bucket and the prefix or key, as
            ``bucket/prefix``; without a trailing slash.
        options: how the S3 service is spoken to; None for ``file``.
    """

    scheme: str
    path: str
    options: StorageOptions | None = None

    @classmethod
    def parse(cls, text: str | Path | Location, options: StorageOptions | None = None) -> Location:
        """Read a path or URI.

        Args:
            text: what the user gave. An ``s3://`` key is taken as it stands, nothing in it is
                decoded.
            options: for ``s3``; what they leave open comes from the AWS settings.

        Raises:
            UsageError: empty text, a scheme that this version does not know, or no bucket.
            StorageError: the AWS settings cannot be read.
        """
        if isinstance(text, Location):
            return text
        text = str(text)
        if not text.strip():
            raise UsageError("A path is empty.", "Give a folder, a file or a tar.")
        if "\0" in text:
            raise UsageError("A path contains a NUL byte.", "Give an ordinary path.")
        if _FILE.match(text):  # as Java writes it
            text = text.replace(":", "://", 1)
        match = _SCHEME.match(text)
        if match is None:
            return cls("file", os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111
        scheme, rest = match.group(1).lower(), match.group(2)
        if scheme == "file":
            return cls("file", os.path.abspath("/" + rest.lstrip("/")))  # noqa: PTH100
        if scheme in _S3:
            return cls._in_bucket(rest, options or StorageOptions())
        raise UsageError(
            f"{scheme}:// is not a storage that this version reads or writes: {text}",
            "Give a local path or s3://bucket/prefix.",
        )

    @classmethod
    def _in_bucket(cls, text: str, options: StorageOptions) -> Location:
        from pomona.storage.aws import resolve

        path = text.rstrip("/")
        bucket, *segments = path.split("/")
        if not _BUCKET.match(bucket):
            raise UsageError(
                f"s3://{text} names no bucket." if not bucket else f"{bucket!r} is no bucket name.",
                "Write s3://bucket/prefix.",
            )
        if any(part in ("", ".", "..") or not part.isprintable() for part in segments):
            raise UsageError(
                f"A prefix with empty, '.' or '..' segments or control characters: s3://{text}",
                "Give the part of the prefix before that.",
            )
        resolved = resolve(options)
        if "." in bucket and resolved.endpoint_url is None:
            # The certificate of AWS covers one label in front of its own host name.
            resolved = resolved.by_path()
        return cls("s3", path, resolved)

    def join(self, *parts: str) -> Location:
        """The location of ``parts`` below this one."""
        return Location(self.scheme, "/".join([self.path.rstrip("/"), *parts]), self.options)

    @property
    def is_root(self) -> bool:
        """Whether nothing lies above: ``/``, or a whole bucket."""
        return self.path == "/" if self.scheme == "file" else "/" not in self.path

    @property
    def bucket(self) -> str:
        """The bucket of an ``s3`` location."""
        return self.path.split("/", 1)[0]

    @property
    def key(self) -> str:
        """The prefix or key of an ``s3`` location; empty for a whole bucket."""
        return self.path.partition("/")[2]

    @property
    def name(self) -> str:
        """The last segment."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        """The location one level up; of a root, the root."""
        if self.is_root:
            return self
        above = self.path.rstrip("/").rsplit("/", 1)[0] or "/"
        return Location(self.scheme, above, self.options)

    @property
    def uri(self) -> str:
        """As a URI whose key is percent-encoded; a local path as it is."""
        if self.scheme == "file":
            return self.path
        return f"s3://{self.bucket}/{quote(self.key)}" if self.key else f"s3://{self.bucket}"

    def __str__(self) -> str:
        return f"s3://{self.path}" if self.scheme == "s3" else self.path
