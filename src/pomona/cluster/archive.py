"""An environment archive, as the hosts that get it see it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from pomona.cluster.packing import MANIFEST, environment_facts, pack
from pomona.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Archive:
    """An archive that ``pomona cluster pack`` made.

    Attributes:
        path: the file.
        sha256: its checksum.
        machine: that it runs on, such as ``x86_64``.
        glibc: the oldest that it runs with, such as (2, 36).
        versions: of what is in it.
    """

    path: Path
    sha256: str
    machine: str
    glibc: tuple[int, ...]
    versions: dict[str, str]

    @property
    def release(self) -> str:
        """What hosts call it: from its content, so that the same one is sent only once."""
        return self.sha256[:16]


def open_archive(path: Path) -> Archive:
    """Look into an archive.

    Raises:
        UsageError: the file cannot be read, or is no such archive.
    """
    try:
        with path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        # Read as a stream: the manifest comes first, and then the rest is not unpacked.
        with tarfile.open(path, "r|gz") as tar:
            manifest = next((one for one in tar if one.name == MANIFEST), None)
            opened = tar.extractfile(manifest) if manifest is not None else None
            if opened is None:
                raise ValueError(f"there is no {MANIFEST} in it")
            facts = json.loads(opened.read())
        glibc = tuple(int(part) for part in str(facts["glibc"]).split("."))
        machine = str(facts["machine"])
    except (OSError, EOFError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        raise UsageError(
            f"{path} is no archive of an environment: {error}.",
            "Make one with pomona cluster pack.",
        ) from error
    names = ("pomona", "python", "spark", "java")
    versions = {name: str(facts[name]) for name in names if name in facts}
    return Archive(path, sha256, machine, glibc, versions)


def own_archive(tell: Callable[[str], None]) -> Path:
    """The archive of this installation, packed anew only where something in it has changed.

    It lies in the user's cache folder, alone: an older one goes.

    Raises:
        ClusterError: it cannot be packed.
    """
    state = hashlib.sha256(json.dumps(environment_facts(), sort_keys=True).encode()).hexdigest()
    folder = user_cache_path("pomona") / "environments"
    path = folder / f"{state[:16]}.tar.gz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        pack(path, tell)
        for other in folder.glob("*.tar.gz"):
            if other != path:
                other.unlink(missing_ok=True)
    return path
