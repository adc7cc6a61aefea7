"""What storage does to a run, and what comes of it: one line a failure.

    python benchmarks/failures.py

Each failure is caused for real: by a proxy on loopback in front of an S3 service, or by a signal.
`pomona embed` runs through it and then once more; afterwards every image has to be in the table
once, with the features of a run on a local folder, and the ledger has to balance.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import polars as pl

from pomona.samples import write_samples
from tests.servers.faults import Fault, fault_proxy
from tests.servers.objects import object_server
from tests.servers.trials import SETTINGS, TRIALS, Ended, Orchard, Trial, check, play

_IMAGES = 48
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPOMONATESTS00001", "AWS_SECRET_ACCESS_KEY": "none"}


class Command:
    """`pomona embed` in a process of its own."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def __call__(self, source: str, output: str, settings: dict[str, Any]) -> Ended:
        """Run it to its end."""
        given = {f"POMONA_{name.upper()}": str(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pomona", "embed", source, output, "--json", "-q"],
            env={**os.environ, **_KEYS, "AWS_REGION": "us-east-1", **given},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        told, errors = self.process.communicate(timeout=300)
        if self.process.returncode:
            return Ended(errors.strip() or f"ended by signal {-self.process.returncode}", {})
        return Ended("", json.loads(told))

    def kill(self) -> None:
        """End it without ceremony."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)


def main() -> None:
    """Play the trials and print a table in Markdown."""
    command = Command()
    killed = Trial(
        "the driver is killed between a worker's write and the commit",
        lambda _: [Fault("hook", r"PUT .*features/_delta_log/0*2\.json", call=command.kill)],
        stops="signal 9",
    )
    print("| failure | first run | told | second run |")
    print("|---|---|---|---|")
    wrong = 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        object_server() as server,
        fault_proxy(server.url) as proxy,
    ):
        images, reference = Path(scratch) / "images", Path(scratch) / "expected"
        write_samples(images, count=_IMAGES, processes=1)
        assert not command(str(images), str(reference), SETTINGS).error
        expected = pl.read_delta(str(reference / "features")).select("path", "features")
        for number, trial in enumerate([*TRIALS, killed]):
            orchard = Orchard(server, proxy, images, f"trial-{number}")
            ended = play(trial, orchard, command)
            try:
                check(trial, orchard, ended, expected.sort("path"))
                verdict = "right"
            except AssertionError as error:
                wrong += 1
                verdict = f"WRONG: {error}"
            first, second = (_counted(end) for end in ended)
            told = " ".join(ended[0].error.split("fix:")[0].split())
            told = (
                told.split(" log: ")[0].removeprefix("pomona: ").replace(orchard.output, "OUTPUT")
            )
            print(f"| {trial.name} | {first} | {told} | {second}: {verdict} |", flush=True)
    sys.exit(1 if wrong else 0)


def _counted(ended: Ended) -> str:
    if ended.error:
        return "stops"
    names = ("embedded", "rejected", "unchanged")
    told = ", ".join(f"{ended.ledger[name]} {name}" for name in names if ended.ledger[name])
    reasons = ", ".join(ended.ledger["reasons"])
    return f"{told} ({reasons})" if reasons else told


if __name__ == "__main__":
    main()
