"""Running a command: how long it took, processor time of all its descendants, its output."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h
_LAST_SECONDS = 15.0


class BenchmarkError(Exception):
    """A command that failed or took too long; the part it belongs to has no result."""

    def __str__(self) -> str:
        """What happened, without folders of this machine: it is kept with the result."""
        return re.sub(r"(?<![\w.])/(?:[^\s/'\"]+/)+", "", super().__str__())[:300]


@dataclass(frozen=True)
class Measured:
    """One run of a command.

    Attributes:
        seconds: by the clock, from its start to its end.
        processor: seconds of all cores that it and everything it started took.
        output: what it printed on standard output.
    """

    seconds: float
    processor: float
    output: str

    def json(self) -> dict[str, Any]:
        """The last line of the output that is a JSON object, or the whole output as one."""
        try:
            found = json.loads(self.output)
        except ValueError:
            lines = [line for line in self.output.splitlines() if line.startswith("{")]
            if not lines:
                raise BenchmarkError(f"no JSON in: {self.output[-300:]}") from None
            found = json.loads(lines[-1])
        if not isinstance(found, dict):
            raise BenchmarkError(f"no JSON object in: {self.output[-300:]}")
        return found


def measure(
    command: list[str | Path],
    *,
    limit: float,
    log: Path,
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> Measured:
    """Run a command to its end; what it writes to standard error is appended to ``log``.

    Processes that outlive the command (Spark's Java does, for a moment) are waited for, so that
    their processor time is counted; those that do not end are killed.

    Raises:
        BenchmarkError: it failed, or it was not done within ``limit`` seconds.
    """
    _adopt_orphans()
    before, begin = _children(), time.perf_counter()
    with log.open("a") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            cwd=cwd,
        )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process.pid)
            process.communicate()
            raise BenchmarkError(f"not done after {limit:.0f} s: {_told(command)}") from None
        except BaseException:
            _end(process.pid)
            raise
        finally:
            seconds = time.perf_counter() - begin
            _reap()
    if process.returncode:
        tail = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise BenchmarkError(
            f"exit code {process.returncode}: {_told(command)}: {' | '.join(tail)}"
        )
    return Measured(seconds, _children() - before, output)


def middle(values: list[float]) -> dict[str, Any]:
    """Median, spread and every value, rounded to four digits."""
    rounded = [float(f"{value:.4g}") for value in values]
    median = float(f"{statistics.median(values):.4g}")
    return {"median": median, "least": min(rounded), "most": max(rounded), "values": rounded}


def ratios(over: list[float], under: list[float]) -> dict[str, Any]:
    """What :func:`middle` says of the pairs' ratios."""
    return middle([one / other for one, other in zip(over, under, strict=True)])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = re.search(r"^model name\s*: (.*)$", about, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", about, re.MULTILINE)
    known = set(flags.group(1).split()) if flags else set()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model.group(1) if model else platform.processor(),
        "instructions": sorted(
            known & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "avx512_vnni"}
        ),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


def _told(command: list[str | Path]) -> str:
    return " ".join(str(word) for word in command)[:200]


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _adopt_orphans() -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)


def _end(group: int) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, kind)
        except ProcessLookupError:
            return
        time.sleep(2)


def _reap() -> None:
    """Wait for everything that the command left behind; what does not end is killed."""
    until = time.monotonic() + _LAST_SECONDS
    killed = False
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid:
            continue
        if time.monotonic() > until:
            if killed:
                return
            killed, until = True, until + _LAST_SECONDS
            for child in _own_children():
                try:
                    os.kill(child, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        time.sleep(0.05)


def _own_children() -> list[int]:
    task = Path(f"/proc/self/task/{os.getpid()}/children")
    return [int(pid) for pid in task.read_text().split()]
