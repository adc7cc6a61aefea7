"""Where data lies: one value for a local path and for an address in a bucket."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pomona.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Location:
    """A folder or file, as the user names it.

    Attributes:
        scheme: ``"file"``; other stores register here when they exist.
        path: for ``file`` an absolute path without a trailing slash.
    """

    scheme: str
    path: str

    @classmethod
    def parse(cls, text: str | Path | Location) -> Location:
        """Read a path or URI.

        Raises:
            UsageError: empty text, or a scheme that this version does not know.
        """
        if isinstance(text, Location):
            return text
        text = str(text)
        if not text.strip():
            raise UsageError("A path is empty.", "Give a folder, a file or a tar.")
        if "\0" in text:
            raise UsageError("A path contains a NUL byte.", "Give an ordinary path.")
        match = _SCHEME.match(text)
        if match is None:
            return cls("file", os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111
        scheme, rest = match.group(1).lower(), match.group(2)
        if scheme == "file":
            return cls("file", os.path.abspath("/" + rest.lstrip("/")))  # noqa: PTH100
        raise UsageError(
            f"{scheme}:// is not a storage that this version reads or writes: {text}",
            "Give a local path.",
        )

    def join(self, *parts: str) -> Location:
        """The location of ``parts`` below this one."""
        return Location(self.scheme, "/".join([self.path.rstrip("/"), *parts]))

    @property
    def name(self) -> str:
        """The last segment."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        """The location one level up."""
        return Location(self.scheme, self.path.rstrip("/").rsplit("/", 1)[0] or "/")

    def __str__(self) -> str:
        return self.path
