"""What every part of the suite has at hand: commands, folders, limits, peers' environments."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.suite.measuring import BenchmarkError, Measured, measure

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "benchmarks" / "peers"
ENVIRONMENTS = ROOT / "benchmarks" / "environments"


@dataclass
class Bench:
    """One run of the suite.

    Attributes:
        work: a folder for everything temporary; it stays between runs for what takes long to make.
        data: where the photographs and the network lie.
        quick: few images and one round.
        rounds: how often things are measured, at most.
        share: seconds that the present part may take; it ends with the round that passes it.
    """

    work: Path
    data: Path
    quick: bool
    rounds: int
    share: float = 600.0
    _begun: float = field(default_factory=time.monotonic)
    _broken: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """Where everything that commands complain of is kept."""
        return self.work / "log.txt"

    @property
    def network(self) -> Path:
        """A MobileNetV2 in ONNX."""
        return self.data / "mobilenet_v2_imagenet.onnx"

    def begin(self, share: float) -> None:
        """A part begins."""
        self.share, self._begun = share, time.monotonic()

    def turns(self) -> Iterator[int]:
        """Numbers of rounds, as long as another one fits into the part's share of time."""
        longest = 0.0
        for number in range(1 if self.quick else self.rounds):
            begin = time.monotonic()
            if number and begin - self._begun + longest > self.share:
                return
            yield number
            longest = max(longest, time.monotonic() - begin)

    def fresh(self, name: str) -> Path:
        """A path in the work folder where nothing is."""
        place = self.work / name
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        return place

    def python(self, *words: str | Path, limit: float = 300) -> Measured:
        """Run a script with the interpreter of this environment."""
        return measure([sys.executable, *words], limit=limit, log=self.log, cwd=ROOT)

    def pomona(self, *words: str | Path, limit: float = 300) -> Measured:
        """Run a command of Pomona's."""
        return self.python("-m", "pomona", *words, limit=limit)

    def peer(self, name: str, script: str, *words: str | Path, limit: float = 300) -> Measured:
        """Run a peer's script in its own environment, which is made when it is first needed.

        A peer that failed once is not tried again in this run.

        Raises:
            BenchmarkError: the environment cannot be made, or the script failed.
        """
        if name in self._broken:
            raise BenchmarkError(self._broken[name])
        try:
            python = self._environment(name)
            return measure([python, PEERS / script, *words], limit=limit, log=self.log)
        except BenchmarkError as error:
            self._broken[name] = str(error)
            raise

    def versions(self, name: str) -> dict[str, str]:
        """What matters of what a peer's environment has."""
        wanted = ("ray", "daft", "openvino", "pyspark", "tensorflow-cpu", "keras", "pyarrow")
        text = (ENVIRONMENTS / f"{name}.txt").read_text()
        found = (line.split(" ")[0].partition("==") for line in text.splitlines() if "==" in line)
        return {name: version for name, _, version in found if name in wanted}

    def _environment(self, name: str) -> Path:
        requirements = ENVIRONMENTS / f"{name}.txt"
        place = self.work / "environments" / name
        stamp = place / ".installed"
        if not stamp.exists() or stamp.read_text() != requirements.read_text():
            print(f"  making the environment of {name} ...", flush=True)
            shutil.rmtree(place, ignore_errors=True)
            python = place / "bin" / "python"
            install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements]
            measure([sys.executable, "-m", "venv", place], limit=120, log=self.log)
            measure([python, *install], limit=900, log=self.log)
            stamp.write_text(requirements.read_text())
        return place / "bin" / "python"


def attempt(found: dict[str, Any], name: str, work: Any) -> None:
    """Do some work whose failure is a finding, not the end of the part."""
    try:
        work()
    except BenchmarkError as error:
        print(f"  {name}: {error}", flush=True)
        found.setdefault("failed", {})[name] = str(error)
