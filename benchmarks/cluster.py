"""The chain on a standalone cluster: how it grows with workers, and what failures do to it.

    python benchmarks/cluster.py rate [--images N] [--workers 1 2]
    python benchmarks/cluster.py trials [NAME ...]

``rate`` runs the chain on the 15,506 shared images, through an S3 service on loopback, on clusters
of so many workers with one core each, and prints one JSON object: images a second by workers, their
ratio, and whether the tables are the same. ``trials`` causes each failure in mid-run and prints a
line for each: afterwards every image has to be in the table once, with the features of an
undisturbed run, and the ledger has to balance. Some trials need root, for network namespaces.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl

from pomona.cluster import record
from pomona.cluster.daemons import MASTER, WORKER, Daemon, Launcher
from pomona.cluster.local import SETTINGS
from pomona.cluster.process import end
from pomona.cluster.record import Cluster
from pomona.samples import write_samples
from pomona.spark.session import write_private
from tests.servers.namespaces import missing, network
from tests.servers.objects import ObjectServer, object_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_DATA = Path(__file__).parents[1] / ".." / "shared" / "data" / "fruits360-33.tar"
_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAPOMONATESTS00001", "AWS_SECRET_ACCESS_KEY": "none"}
_COUNT = 480
_FINE = ("--precision", "fp32", "--engine", "onnxruntime", "--task-images", "12")
_FINE = (*_FINE, "--chunk-tasks", "4")
_CUT = 60.0
_LIMIT = 900.0


@dataclass
class Ended:
    """How a command ended: exit code, its object of ``--json``, and what a person was told."""

    code: int
    facts: dict[str, Any]
    told: str


class Command:
    """The ``pomona`` command in the background."""

    def __init__(self, *arguments: str | Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        with self._files[0].open("w") as out, self._files[1].open("w") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pomona", *map(str, arguments)], stdout=out, stderr=told
            )

    def until(self, seen: Callable[[], bool]) -> None:
        """Wait until something can be seen; the command must not end before."""
        begin = time.monotonic()
        while not seen():
            assert self.process.poll() is None, f"it ended too early: {self.end().told}"
            assert time.monotonic() - begin < _LIMIT, "it was never seen"
            time.sleep(0.02)

    def end(self) -> Ended:
        """Wait for the end."""
        code = self.process.wait(_LIMIT)
        texts = [file.read_text() for file in self._files]
        try:
            facts = json.loads(texts[0])
        except ValueError:
            facts = {}
        return Ended(code, facts, texts[1])


def pomona(*arguments: str | Path) -> Ended:
    """Run the command to its end."""
    return Command(*arguments).end()


class Place:
    """A bucket with the images, and what a run has left in it.

    Args:
        server: of the bucket.
        folder: of the images.
    """

    def __init__(self, server: ObjectServer, folder: Path) -> None:
        self._server = server
        self.source = "s3://orchard/in"
        self.images = server.load(folder, "orchard", "in/")
        os.environ["AWS_ENDPOINT_URL"] = server.url

    def table(self, output: str, name: str) -> pl.DataFrame:
        """A table below OUTPUT, sorted by path."""
        options = {
            "aws_access_key_id": "x",
            "aws_secret_access_key": "x",
            "aws_region": "us-east-1",
            "aws_endpoint_url": self._server.url,
            "aws_allow_http": "true",
        }
        return pl.read_delta(f"{output}/{name}", storage_options=options).sort("path")

    def commits(self, output: str) -> int:
        """Versions of the features table."""
        import boto3

        client = boto3.client("s3", endpoint_url=self._server.url, region_name="us-east-1")
        prefix = f"{output.removeprefix('s3://orchard/')}/features/_delta_log/"
        return len(client.list_objects_v2(Bucket="orchard", Prefix=prefix).get("Contents", []))


@contextmanager
def local(workers: int, name: str = "bench") -> Iterator[str]:
    """A cluster on loopback; gone afterwards."""
    given = ("--name", name, "-w", str(workers), "--cores", "1")
    started = pomona("cluster", "start", *given, "--json")
    assert started.code == 0, started.told
    try:
        yield name
    finally:
        pomona("cluster", "remove", name)


def same(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    """Empty where two tables hold the same rows, each once; else what differs."""
    if not ours["path"].is_unique().all():
        return "an image is in the table twice"
    if ours["path"].to_list() != theirs["path"].to_list():
        return f"{ours.height} rows, not {theirs.height}"
    column = "features" if "features" in ours.columns else "components"
    left, right = (np.array(table[column].to_list()) for table in (ours, theirs))
    # Moments are added up in the order in which tasks end; axes may differ by rounding.
    if left.shape != right.shape or not np.allclose(left, right, atol=1e-3):
        return f"the {column} differ"
    return ""


# rate


def rate(count: int, workers: list[int], steps: str, precision: str) -> dict[str, Any]:
    """Images a second by number of workers, and whether the tables agree."""
    with tempfile.TemporaryDirectory() as scratch, object_server() as server:
        place = Place(server, _unpacked(Path(scratch), count))
        found: dict[str, Any] = {
            "images": place.images,
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "load_before": round(os.getloadavg()[0], 2),
            "steps": steps,
            "runs": {},
        }
        fixed: tuple[str, ...] = ("--precision", precision)
        for number in workers:
            output = f"s3://orchard/out-{number}"
            with local(number) as name:
                asked = ("--master", name, "--json", "-q", *fixed)
                ended = pomona(steps, place.source, output, *asked)
            assert ended.code == 0, ended.told
            network = _ledger(place, output)["network"]
            # The first run's choice holds for all of them.
            fixed = ("--precision", network["precision"], "--engine", network["engine"])
            facts = ended.facts
            found["runs"][str(number)] = {
                "embedded": facts["embedded"],
                "rejected": facts["rejected"],
                "images_per_second": round(facts["embedded"] / facts["seconds"]["embed_wall"], 1),
                "seconds": facts["seconds"],
                "verdict": facts["verdict"],
                "engine": network["engine"],
                "precision": network["precision"],
            }
        first, last = (f"s3://orchard/out-{n}" for n in (workers[0], workers[-1]))
        tables = ("features", "components") if steps == "run" else ("features",)
        differ = [same(place.table(last, name), place.table(first, name)) for name in tables]
        rates = [found["runs"][str(n)]["images_per_second"] for n in (workers[0], workers[-1])]
        found["same_tables"] = not any(differ)
        found["differences"] = [text for text in differ if text]
        found["ratio"] = round(rates[1] / rates[0], 3)
        found["load_after"] = round(os.getloadavg()[0], 2)
        return found


def _ledger(place: Place, output: str) -> dict[str, Any]:
    from pomona.storage import Location, open_store

    store = open_store(Location.parse(output))
    found: dict[str, Any] = json.loads(store.read("runs/" + store.names("runs/")[-1]))
    return found


def _unpacked(folder: Path, count: int) -> Path:
    if not _DATA.exists():
        write_samples(folder / "images", count=count or _COUNT, processes=1)
        return folder / "images"
    with tarfile.open(_DATA) as tar:
        members = [one for one in tar.getmembers() if one.isfile()]
        step = max(1, len(members) // count) if count else 1
        chosen = members[::step][: count or None]
        tar.extractall(folder, members=chosen, filter="data")
    return folder


# trials


@dataclass
class Scene:
    """What a trial plays on.

    Attributes:
        place: the bucket.
        images: the same, as a folder.
        expected: features of an undisturbed run.
        scratch: a folder of this trial.
        output: its OUTPUT.
        notes: what is worth telling of it.
        started: what it has started.
    """

    place: Place
    images: Path
    expected: pl.DataFrame
    scratch: Path
    output: str
    notes: list[str] = field(default_factory=list)
    started: list[Command] = field(default_factory=list)

    def run(self, master: str, *more: str) -> Command:
        """Start the chain's first step."""
        given = (*_FINE, "--master", master, "--json", *more)
        self.started.append(Command("embed", self.place.source, self.output, *given))
        return self.started[-1]

    def half_way(self) -> bool:
        """Whether two chunks are committed."""
        return self.place.commits(self.output) >= 3

    def check(self, ended: Ended, *, unchanged: bool = False) -> None:
        """Make sure that nothing is missing, wrong or there twice, and that the ledger balances."""
        assert ended.code == 0, ended.told
        facts = ended.facts
        total = facts["embedded"] + facts["rejected"] + facts["unchanged"]
        assert facts["listed"] == total == self.place.images, facts
        assert bool(facts["unchanged"]) == unchanged, facts
        differ = same(self.place.table(self.output, "features"), self.expected)
        assert not differ, differ


def worker_killed(scene: Scene) -> None:
    """A worker is killed with -9"""
    with local(2) as name:
        run = scene.run(name)
        run.until(scene.half_way)
        os.kill(record.load(name).nodes[1].pid, signal.SIGKILL)
        scene.check(run.end())


def executor_killed(scene: Scene) -> None:
    """An executor's Java is killed with -9"""
    with local(2) as name:
        run = scene.run(name)
        run.until(scene.half_way)
        worker = record.load(name).nodes[2].pid
        for child in _children(worker):
            os.kill(child, signal.SIGKILL)
        scene.check(run.end())


def worker_still(scene: Scene) -> None:
    """A worker stands still for 30 s, speculation on"""
    given = (
        "--spark-conf",
        "spark.speculation=true",
        "--spark-conf",
        "spark.speculation.interval=1s",
    )
    given += ("--spark-conf", "spark.speculation.quantile=0.5")
    with local(2) as name:
        run = scene.run(name, *given)
        run.until(scene.half_way)
        still = _children(record.load(name).nodes[1].pid)
        still += [pid for child in still for pid in _children(child)]
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        begin = time.monotonic()
        while run.process.poll() is None and time.monotonic() - begin < 30:
            time.sleep(0.1)
        scene.notes.append(f"ended meanwhile: {run.process.poll() is not None}")
        for pid in still:
            os.kill(pid, signal.SIGCONT)
        scene.check(run.end())


def worker_decommissioned(scene: Scene) -> None:
    """A worker is told that its machine will go (SIGPWR, as for a spot instance)"""
    with local(2) as name:
        run = scene.run(name)
        run.until(scene.half_way)
        os.kill(record.load(name).nodes[1].pid, signal.SIGPWR)
        scene.check(run.end())


def worker_joins(scene: Scene) -> None:
    """A worker joins in mid-run"""
    with local(1) as name, ExitStack() as stack:
        cluster = record.load(name)
        run = scene.run(name)
        run.until(scene.half_way)
        # Those that are there wait until the new one works, so that it gets its share.
        still = [pid for child in _children(cluster.nodes[1].pid) for pid in _below(child)]
        for pid in still:
            os.kill(pid, signal.SIGSTOP)
        try:
            late = _join(cluster, stack).pid
            # An executor starts Python when it is given a task.
            run.until(lambda: any(_children(executor) for executor in _children(late)))
        finally:
            for pid in still:
                os.kill(pid, signal.SIGCONT)
        scene.check(run.end())


def driver_killed(scene: Scene) -> None:
    """The driver is killed with -9, and the command given again"""
    with local(2) as name:
        run = scene.run(name)
        run.until(scene.half_way)
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()
        scene.check(scene.run(name).end(), unchanged=True)


def worker_cut(scene: Scene) -> None:
    """A worker is cut off the network for 60 s"""
    with ExitStack() as stack:
        net = stack.enter_context(network(2, scene.scratch / "net"))
        server = stack.enter_context(object_server(address=net.address))
        place = Place(server, scene.images)
        ours = replace(scene, place=place)
        name = _spread(net, scene.scratch, stack)
        run = ours.run(name)
        run.until(ours.half_way)
        net.hosts[0].cut()
        begin = time.monotonic()
        while run.process.poll() is None and time.monotonic() - begin < _CUT:
            time.sleep(0.1)
        scene.notes.append(f"ended meanwhile: {run.process.poll() is not None}")
        net.hosts[0].mend()
        ours.check(run.end())


def path_of_the_driver(scene: Scene) -> None:
    """INPUT is a folder that a worker does not see"""
    with ExitStack() as stack:
        net = stack.enter_context(network(1, scene.scratch / "net", hide=[scene.images]))
        name = _spread(net, scene.scratch, stack)
        output = scene.scratch / "out"
        ended = pomona("embed", scene.images, output, *_FINE, "--master", name)
        assert ended.code == 2, ended.told
        assert "INPUT is not on every machine" in ended.told
        assert not output.exists()
        scene.notes.append(_first(ended.told))


def environment(scene: Scene) -> None:
    """Workers run a packed environment"""
    archive = scene.scratch / "env.tar.gz"
    packed = pomona("cluster", "pack", archive, "--json")
    assert packed.code == 0, packed.told
    scene.notes.append(f"{packed.facts['size'] / (1 << 20):,.0f} MiB")
    with local(1) as name:
        scene.check(scene.run(name, "--environment", str(archive)).end())


def wrong_secret(scene: Scene) -> None:
    """The driver has another secret than the cluster"""
    with local(1) as name:
        url, given = record.load(name).master, []
        for setting in (
            "authenticate=true",
            "network.crypto.enabled=true",
            "authenticate.secret=x",
        ):
            given += ["--spark-conf", f"spark.{setting}"]
        begin = time.monotonic()
        ended = scene.run(url, *given).end()
        assert ended.code == 1, ended.told
        assert "another secret" in ended.told, ended.told
        scene.notes.append(f"after {time.monotonic() - begin:.0f} s: {_first(ended.told)}")


def no_free_core(scene: Scene) -> None:
    """Another application holds every core"""
    with local(1) as name:
        first = scene.run(name)
        first.until(scene.half_way)
        first.process.send_signal(signal.SIGSTOP)
        try:
            begin = time.monotonic()
            ended = pomona("embed", scene.place.source, f"{scene.output}-2", "--master", name)
            assert ended.code == 1, ended.told
            assert "has offered a core" in ended.told, ended.told
            scene.notes.append(f"after {time.monotonic() - begin:.0f} s: {_first(ended.told)}")
        finally:
            first.process.send_signal(signal.SIGCONT)
        scene.check(first.end())


TRIALS: dict[str, Callable[[Scene], None]] = {
    one.__name__: one
    for one in (
        worker_killed,
        executor_killed,
        worker_cut,
        driver_killed,
        worker_joins,
        worker_still,
        worker_decommissioned,
        path_of_the_driver,
        wrong_secret,
        no_free_core,
        environment,
    )
}
_NAMESPACES = (worker_cut, path_of_the_driver)


def _children(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def _below(pid: int) -> list[int]:
    """Its children and theirs."""
    found = _children(pid)
    return [*found, *(below for child in found for below in _below(child))]


def _join(cluster: Cluster, stack: ExitStack) -> Daemon:
    """A further worker of a cluster on loopback."""
    settings = SETTINGS | {"spark.authenticate.secret": cluster.secret()}
    launcher = Launcher(cluster.folder, "127.0.0.1", settings)
    size = ["--cores", "1", "--memory", "2g", "--work-dir", str(cluster.folder / "work" / "late")]
    place = ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0"]
    worker = launcher.launch("late", WORKER, [*place, *size, cluster.master])
    stack.callback(end, [(worker.pid, worker.born)])
    return worker


def _spread(net: Any, folder: Path, stack: ExitStack) -> str:
    """A cluster whose master is here and whose workers are on other hosts; its name."""
    name, secret = "spread", "0123456789abcdef" * 4
    home = record.make_folder(name)
    stack.callback(record.forget, name)
    write_private(home / "secret", secret)
    settings = SETTINGS | {"spark.authenticate.secret": secret}
    until = time.monotonic() + _LIMIT
    master = Launcher(home, net.address, settings).launch(
        "master", MASTER, ["--host", net.address, "--port", "0", "--webui-port", "0"]
    )
    stack.callback(end, [(master.pid, master.born)])
    url = f"spark://{net.address}:{master.ports(2, until)['rpc']}"
    for host in net.hosts:
        own = folder / f"at-{host.name}"
        (own / "logs").mkdir(parents=True)
        # The hosts have no credentials of their own; here they get the tests'.
        keys = ["env", *(f"{name}={value}" for name, value in _KEYS.items())]
        through = partial(_on_host, host, keys)
        launcher = Launcher(own, host.address, settings, through)
        place = ["--host", host.address, "--port", "0", "--webui-port", "0"]
        size = ["--cores", "1", "--memory", "2g", "--work-dir", str(own / "work")]
        worker = launcher.launch(host.name, WORKER, [*place, *size, url])
        stack.callback(end, [(worker.pid, worker.born)])
        worker.ports(2, until)
    at = {"spark.driver.host": net.address, "spark.driver.bindAddress": net.address}
    record.save(Cluster(name, "ssh", url, secret_file=str(home / "secret"), conf=at))
    return name


def _on_host(host: Any, before: list[str], argv: list[str]) -> list[str]:
    found: list[str] = host.enter([*before, *argv])
    return found


def _first(told: str) -> str:
    return next((line for line in told.splitlines() if line.startswith("pomona: ")), "")


def trials(names: list[str]) -> int:
    """Play the trials and print a table in Markdown; the number that came out wrong."""
    wrong = 0
    print("| failure | outcome | seconds | noted |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch, object_server() as server:
        images = Path(scratch) / "images"
        write_samples(images, count=_COUNT, processes=1)
        place = Place(server, images)
        undisturbed = pomona("embed", place.source, "s3://orchard/expected", *_FINE, "--json")
        assert undisturbed.code == 0, undisturbed.told
        expected = place.table("s3://orchard/expected", "features")
        for name in names or TRIALS:
            own = Path(scratch) / name
            own.mkdir()
            scene = Scene(place, images, expected, own, f"s3://orchard/{name}")
            os.environ["AWS_ENDPOINT_URL"] = server.url
            trial, begin = TRIALS[name], time.monotonic()
            lacking = missing() if trial in _NAMESPACES else ""
            try:
                if lacking:
                    outcome = f"not tried: {lacking}"
                else:
                    trial(scene)
                    outcome = "right"
            except Exception as error:  # noqa: BLE001 - the other trials are played all the same
                wrong += 1
                outcome = f"WRONG: {type(error).__name__} {' '.join(str(error).split())[:600]}"
            finally:
                for command in scene.started:
                    command.process.kill()
            seconds = time.monotonic() - begin
            notes = "; ".join(scene.notes)
            print(f"| {trial.__doc__} | {outcome} | {seconds:.0f} | {notes} |", flush=True)
    return wrong


def main() -> None:
    """Parse the command line, and run in a state folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    rates = commands.add_parser("rate")
    rates.add_argument("--images", type=int, default=0, help="a share of them; 0: all")
    rates.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    rates.add_argument("--steps", choices=("embed", "run"), default="run")
    rates.add_argument("--precision", default="auto")
    played = commands.add_parser("trials")
    played.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TRIALS))
    given = parser.parse_args()
    if unknown := set(getattr(given, "names", ())) - set(TRIALS):
        parser.error(f"no such trial: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as state:
        os.environ |= {**_KEYS, "AWS_REGION": "us-east-1", "XDG_STATE_HOME": state}
        if given.command == "trials":
            sys.exit(1 if trials(given.names) else 0)
        found = rate(given.images, given.workers, given.steps, given.precision)
        print(json.dumps(found, indent=1))
        sys.exit(0 if found["same_tables"] else 1)


if __name__ == "__main__":
    main()
