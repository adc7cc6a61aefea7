from __future__ import annotations

import platform
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark import cloudpickle

from pomona import __version__
from pomona.errors import SparkError, UsageError
from pomona.spark import identity, session
from pomona.spark.identity import differs, source_hash
from pomona.spark.java import find_java
from pomona.spark.jobs import _Refusal, _Task
from pomona.spark.meeting import Greeting, _greeting, judge, memory_of_a_slot

_GOOD = Greeting(
    "orchard1", "/work", platform.python_version(), "/usr/bin/python3", __version__, source_hash()
)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"python": "3.9.1"}, "runs Python 3.9.1"),
        ({"pomona": "", "fault": "ModuleNotFoundError: numpy"}, "ModuleNotFoundError: numpy"),
        ({"pomona": "0.0.9"}, "has Pomona 0.0.9"),
        ({"source": "0" * 64}, "other code"),
        ({"source": ""}, "other code"),
    ],
)
def test_a_worker_that_would_compute_something_else_is_refused(
    changes: dict[str, Any], told: str
) -> None:
    judge([_GOOD, replace(_GOOD, python=f"{platform.python_version()}+")])
    with pytest.raises(SparkError, match="orchard1") as caught:
        judge([_GOOD, replace(_GOOD, **changes)])
    assert told in caught.value.what
    assert "pomona cluster pack" in caught.value.fix


def test_the_memory_of_a_slot_is_that_of_the_tightest_host() -> None:
    two = [replace(_GOOD, memory=8 << 30)] * 2
    four = [replace(_GOOD, host="orchard2", memory=12 << 30)] * 4
    assert memory_of_a_slot([*two, *four]) == 3 << 30
    assert memory_of_a_slot([*two, _GOOD]) == (8 << 30) // 3
    assert memory_of_a_slot([_GOOD]) == memory_of_a_slot([]) == 0


def test_what_greets_travels_without_pomona() -> None:
    data = cloudpickle.dumps(_greeting())  # type: ignore[no-untyped-call]
    assert b"gethostname" in data  # its code, not its name
    found = cloudpickle.loads(data)(0)
    assert (found["pomona"], found["source"]) == (__version__, source_hash())
    assert found["memory"] > 0


def test_the_hash_is_of_every_file_and_of_nothing_that_python_adds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pomona"
    (package / "spark" / "__pycache__").mkdir(parents=True)
    (package / "spark" / "identity.py").write_text("")
    monkeypatch.setattr(identity, "__file__", str(package / "spark" / "identity.py"))
    plain = source_hash.__wrapped__()
    (package / "spark" / "__pycache__" / "x.pyc").write_text("compiled")
    assert source_hash.__wrapped__() == plain
    (package / "network.onnx").write_text("weights")
    assert source_hash.__wrapped__() != plain


def test_a_worker_that_joins_with_other_code_does_no_task(monkeypatch: pytest.MonkeyPatch) -> None:
    task: _Task[int, int] = _Task(abs, "counting")
    assert list(task([-1])) == [1]
    monkeypatch.setenv(identity.SOURCE_VARIABLE, source_hash())
    differs.cache_clear()
    assert list(task([-1])) == [1]
    monkeypatch.setenv(identity.SOURCE_VARIABLE, "of another one")
    differs.cache_clear()
    try:
        (refused,) = task([-1])
    finally:
        differs.cache_clear()
    assert isinstance(refused, _Refusal)
    assert "other code" in refused.what


def test_settings_of_a_master_elsewhere(tmp_path: Path) -> None:
    for master in ("spark://h:7077", "yarn", "k8s://https://h:6443"):
        found = session._settings(master, tmp_path, verbose=False, environment=tmp_path / "e.tar")
        assert found["spark.master"] == master
        assert found["spark.archives"] == f"{tmp_path / 'e.tar'}#pomona-environment"
        assert found["spark.pyspark.python"].startswith("./pomona-environment/")
        assert found[f"spark.executorEnv.{identity.SOURCE_VARIABLE}"] == source_hash()
        assert "spark.local.dir" not in found
        assert "spark.driver.host" not in found
    here = session._settings("local[2]", tmp_path, verbose=False, environment=None)
    assert here["spark.driver.host"] == "127.0.0.1"


@pytest.mark.parametrize("master", ["spark://127.0.0.1:1", "spark://h", "spark://no.invalid:7077"])
def test_a_master_that_is_not_there_is_told_at_once(master: str) -> None:
    with pytest.raises(SparkError, match="No Spark master answers"):
        session.ensure_reachable(master)


def test_an_archive_that_is_not_there_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        session.archive(str(tmp_path / "absent.tar.gz"))


def test_a_file_of_settings_is_read_by_java_as_it_was_meant(tmp_path: Path) -> None:
    awkward = {"a": "x=y: #!\\ \t\n", "k:e=y": "é 🍎"}
    told = session.properties(awkward)
    assert told.isascii()
    assert _read_as_java_does(told) == awkward
    path = tmp_path / "file"
    session.write_private(path, told)
    assert path.stat().st_mode & 0o777 == 0o600


def _read_as_java_does(text: str) -> dict[str, str]:
    """With Java's own reader."""
    code = """import java.util.*; import java.io.*; class Show { public static void main(String[] a)
    throws Exception { Properties p = new Properties(); p.load(new FileInputStream(a[0]));
    for (String k : p.stringPropertyNames()) { System.out.println(HexFormat.of().formatHex(
    k.getBytes("UTF-8")) + " " + HexFormat.of().formatHex(p.getProperty(k).getBytes("UTF-8")));}}}
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Show.java").write_text(code)
        Path(folder, "given").write_text(text, encoding="ascii")
        java = str(find_java().home / "bin" / "java")
        command = [java, "--source", "17", f"{folder}/Show.java", f"{folder}/given"]
        done = subprocess.run(command, capture_output=True, text=True)
    if "compiler" in done.stderr.lower():
        pytest.skip("this Java has no compiler")
    assert done.returncode == 0, done.stderr
    pairs = (line.split(" ") for line in done.stdout.splitlines())
    return {bytes.fromhex(k).decode(): bytes.fromhex(v).decode() for k, v in pairs}
