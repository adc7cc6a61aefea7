from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pomona.spark.java import Java, bundled_java, find_java, java_version


def _runtime(folder: Path, version: str, *, release: bool = True) -> Path:
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    java.chmod(0o755)
    if release:
        (folder / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="java.base"\n')
    return folder


@pytest.fixture(autouse=True)
def _no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("version", "release", "expected"),
    [("21.0.4", True, 21), ("1.8.0_402", True, 8), ("17", True, 17), ("22.0.1", False, 22)],
)
def test_the_version_is_read_or_asked(
    version: str, release: bool, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    assert java_version(_runtime(tmp_path / "java", version, release=release)) == expected


def test_without_any_java_the_bundled_one_serves() -> None:
    found = find_java()
    assert found.origin == "bundled"
    assert found.version >= 17


def test_java_home_comes_first_then_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = _runtime(tmp_path / "path", "21")
    monkeypatch.setenv("PATH", str(on_path / "bin"))
    assert find_java().origin == "PATH"
    monkeypatch.setenv("JAVA_HOME", str(_runtime(tmp_path / "home", "17.0.2")))
    assert find_java() == Java(tmp_path / "home", 17, "JAVA_HOME")


@pytest.mark.parametrize("version", ["11.0.2", "1.8.0"])
def test_one_that_is_too_old_is_passed_over(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(_runtime(tmp_path / "old", version)))
    assert find_java().origin == "bundled"


def test_a_java_home_that_is_nothing_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "absent"))
    assert find_java().origin == "bundled"


def test_the_launcher_drops_the_one_module_and_keeps_every_other_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    home = _runtime(tmp_path / "it's a java", "25")
    (home / "bin" / "java").write_text('#!/bin/sh\nfor a do echo "[$a]"; done\n')
    launcher = Java(home, 25, "bundled").spark_home_for(tmp_path / "scratch") / "bin" / "java"
    arguments = ["-Xmx1g", "--add-modules=jdk.incubator.vector", "a b", "", "--add-modules=x"]
    done = subprocess.run([launcher, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["[-Xmx1g]", "[a b]", "[]", "[--add-modules=x]", ""]


def test_the_bundled_runtime_is_whole() -> None:
    java = bundled_java()
    done = subprocess.run([java.home / "bin" / "java", "-version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert str(java.version) in done.stderr
