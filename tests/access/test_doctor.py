from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pomona.access import machine, workers
from pomona.access.check import attempt
from pomona.access.doctor import examine_places
from pomona.access.probe import Worker
from pomona.access.workers import judge_engines, judge_interpreters
from pomona.samples import write_samples
from pomona.spark.java import OLDEST
from pomona.spark.session import usable_cores
from pomona.storage import Location

NAMES = [
    "python", "java", "cores", "memory", "scratch disk", "input", "output", "output disk",
    "spark", "workers", "network",
]  # fmt: skip


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "in"
    write_samples(folder, count=20, processes=1)
    return folder


def doctor(
    *arguments: str | Path, **environment: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, str]]]:
    """The command in a process of its own, and its checks by name."""
    done = subprocess.run(
        [sys.executable, "-m", "pomona", "doctor", "--json", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, **environment},
    )
    checks = json.loads(done.stdout)["checks"] if done.stdout else []
    return done, {check["name"]: check for check in checks}


def fake_java(home: Path, script: str, release: str = "") -> Path:
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    if release:
        (home / "release").write_text(f'JAVA_VERSION="{release}"\n')
    return home


def as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    """Run code for which permissions count: root drops its rights after the imports."""
    drop = "import os\nif os.geteuid() == 0: os.setgroups([]); os.setuid(65534)\n"
    imports, _, rest = code.partition("\n\n")
    return subprocess.run(
        [sys.executable, "-c", f"{imports}\n{drop}\n{rest}"],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_sound_machine_passes_and_nothing_is_left(tmp_path: Path, images: Path) -> None:
    done, checks = doctor(images, tmp_path / "new" / "out")
    assert list(checks) == NAMES
    assert {name: check["mark"] for name, check in checks.items() if check["mark"] == "fail"} == {}
    assert done.returncode == 0
    assert json.loads(done.stdout)["ok"] is True
    assert "20 images" in checks["input"]["found"]
    assert sys.executable in checks["workers"]["found"]
    assert "features" in checks["network"]["found"]
    assert list(tmp_path.iterdir()) == []


def test_each_fault_has_its_line_and_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    broken = tmp_path / "path" / "openvino"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('libopenvino.so is missing')\n")
    done, checks = doctor(
        tmp_path / "absent",
        tmp_path / "file" / "out",
        JAVA_HOME=str(tmp_path / "no-java"),
        PYTHONPATH=str(tmp_path / "path"),
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert list(checks) == NAMES
    marks = {name: check["mark"] for name, check in checks.items()}
    assert (marks["python"], marks["spark"], marks["workers"]) == ("ok", "ok", "ok")
    assert marks["java"] == "warn"
    assert "no-java" in checks["java"]["found"]
    assert marks["input"] == "fail"
    assert "does not exist" in checks["input"]["found"]
    assert marks["output"] == "fail"
    assert str(tmp_path / "file") in checks["output"]["found"]
    assert marks["network"] == "warn"
    assert "libopenvino.so is missing" in checks["network"]["found"]
    assert all(check["fix"] for check in checks.values() if check["mark"] != "ok")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_java_that_does_not_start_is_two_lines(tmp_path: Path, images: Path) -> None:
    home = fake_java(tmp_path / "java", "echo Killed >&2; exit 1", release="21.0.1")
    done, checks = doctor(images, JAVA_HOME=str(home))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert checks["spark"]["mark"] == "fail"
    assert "Java did not start" in checks["spark"]["found"]
    assert Path(checks["spark"]["fix"].split()[-1].rstrip(".")).is_file()
    assert checks["workers"]["found"].startswith("not tried")
    assert checks["input"]["mark"] == "ok"


def test_a_java_that_never_answers_is_given_up(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "java", "exec sleep 20", release="21.0.1")
    code = (
        "import sys\n"
        "from pomona.workspace import open_workspace\n"
        "from pomona.access.workers import check_spark\n"
        "with open_workspace() as workspace:\n"
        "    for check in check_spark(workspace, master='local[1]', patience=2):\n"
        "        print(check.mark, check.name, check.found)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "JAVA_HOME": str(home)},
    )
    assert "fail spark Spark had not started" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a-nothing://x", "is not a storage"),
        ("", "path is empty"),
    ],
)
def test_a_wrong_address_is_misuse(text: str, told: str) -> None:
    done, checks = doctor(text)
    assert done.returncode == 2
    assert told in done.stderr
    assert not checks


def test_three_places_are_misuse(tmp_path: Path) -> None:
    done, _ = doctor(tmp_path, tmp_path, tmp_path)
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("script", "release", "told"),
    [
        ("exit 1", "1.8.0_402", "has Java 8; Spark needs 17"),
        ("echo 'openjdk version \"11.0.2\" 2019' >&2", "", "has Java 11; Spark needs 17"),
        ("echo nonsense >&2", "", "has no Java that answers"),
    ],
)
def test_an_old_or_odd_java_home_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, release: str, told: str
) -> None:
    home = fake_java(tmp_path / "java", script, release)
    monkeypatch.setenv("JAVA_HOME", str(home))
    check = machine.check_java()
    assert check.mark == "warn"
    assert told in check.found
    assert str(home) in check.found
    assert str(OLDEST) in check.fix


@pytest.mark.parametrize("told", [None, "", "/nonexistent", "relative/nothing"])
def test_no_java_home_is_fine_and_nonsense_is_named(
    monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if told is not None:
        monkeypatch.setenv("JAVA_HOME", told)
    check = machine.check_java()
    assert check.mark == ("warn" if told else "ok")
    assert "Java" in check.found


def test_more_tasks_than_cores_or_memory_are_warned_of() -> None:
    cores = usable_cores()
    assert machine.check_cores(cores).mark == "ok"
    assert f"local[{cores}]" in machine.check_cores(cores + 1).fix
    assert machine.check_cores(None).mark == "ok"
    crowded = machine.check_memory(1_000_000)
    assert crowded.mark == "warn"
    assert "local[" in crowded.fix


def test_an_unusable_scratch_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", None)
    check = attempt("scratch disk", machine.check_scratch)
    assert check.mark == "warn"
    assert "TMPDIR" in check.found


def test_an_output_without_permission_fails(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        if folder.stat().st_uid == os.geteuid() and os.geteuid() == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    done = as_nobody(
        "from pomona.access.doctor import examine_places\n"
        "from pomona.access.places import check_output\n"
        "from pomona.storage import Location\n"
        "\n"
        f"for where in ({str(closed)!r}, {str(closed / 'new' / 'out')!r}):\n"
        "    for check in examine_places(None, Location.parse(where)):\n"
        "        print(check.mark, check.name, check.found)\n"
    )
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["fail", "output"], ["ok", "output"]] * 2, (
        done.stdout + done.stderr
    )
    assert "Permission denied" in lines[0]
    assert list(closed.iterdir()) == []


def test_an_input_without_permission_fails(tmp_path: Path, images: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0)
    done = as_nobody(
        "from pomona.access.doctor import examine_places\n"
        "from pomona.access.places import check_input\n"
        "from pomona.storage import Location\n"
        "\n"
        f"check, = examine_places(Location.parse({str(closed)!r}), None)\n"
        "print(check.mark, check.found)\n"
    )
    assert done.stdout.startswith("fail "), done.stdout + done.stderr


def test_what_input_holds_is_told(tmp_path: Path, images: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        archive.add(images, "fruit")
    empty = tmp_path / "empty"
    empty.mkdir()
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.jpg").write_bytes(b"no image")
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.txt").write_text("words")
    found = {
        place.name: next(examine_places(Location.parse(place), None))
        for place in (images, tmp_path / "shard.tar", empty, broken, text)
    }
    assert {name: check.mark for name, check in found.items()} == {
        "in": "ok", "shard.tar": "ok", "empty": "fail", "broken": "fail", "text": "warn",
    }  # fmt: skip
    assert "20 images at the start of shard.tar" in found["shard.tar"].found
    assert "not_an_image" in found["broken"].found


def test_a_long_input_is_not_listed_whole(tmp_path: Path, images: Path) -> None:
    jpeg = next(images.rglob("*.jpg")).read_bytes()
    for index in range(1_200):
        (tmp_path / f"{index:04}.jpg").write_bytes(jpeg)
    check = next(examine_places(Location.parse(tmp_path), None))
    assert "1,000 images in the first 1,000 files" in check.found


def worker(**changed: object) -> Worker:
    import platform

    from pomona import __version__

    facts: dict[str, object] = {
        "host": "here",
        "process": 1,
        "interpreter": sys.executable,
        "python": platform.python_version(),
        "pomona": __version__,
        "engines": {"openvino": "2026.4", "onnxruntime": "1.32"},
        "faults": {},
        "dimension": 256,
    }
    return Worker(**(facts | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "local", "mark"),
    [
        ({}, True, "ok"),
        ({"interpreter": "/usr/bin/python3"}, True, "fail"),
        ({"interpreter": "/usr/bin/python3"}, False, "ok"),
        ({"python": "3.9.1"}, False, "fail"),
        ({"pomona": "0.0.1"}, False, "fail"),
    ],
)
def test_other_interpreters_are_told_apart(
    changed: dict[str, object], local: bool, mark: str
) -> None:
    assert judge_interpreters([worker(), worker(**changed)], local=local).mark == mark


def test_one_runtime_is_enough_and_none_is_not() -> None:
    one = worker(engines={"openvino": "2026.4"}, faults={"onnxruntime": "ImportError: x"})
    none = worker(engines={}, faults={"openvino": "ImportError: y"}, dimension=0)
    assert judge_engines([worker()]).mark == "ok"
    assert judge_engines([worker(), one]).mark == "warn"
    assert judge_engines([worker(), none]).mark == "fail"


def test_work_that_takes_too_long_is_given_up() -> None:
    import threading

    from pomona.errors import SparkError

    release = threading.Event()
    with pytest.raises(SparkError, match="late"):
        workers._within(0.05, release.wait, SparkError("late"))
    release.set()
