"""What people get wrong: one message, at most ten lines, with the fix, and nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.command import pomona

_RUN = ["run", "images", "out"]

MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "INPUT is misspelt": (["run", "imagse", "out"], 1, "does not exist"),
    "INPUT is empty": (["run", "empty", "out"], 1, "no images"),
    "INPUT is OUTPUT": (["run", "images", "images"], 2, "same folder"),
    "INPUT is a compressed tar": (["run", "images.tar.gz", "out"], 1, "decompress"),
    "INPUT is text": (["run", "note.txt", "out"], 1, "no images"),
    "OUTPUT is a file": (["run", "images", "note.txt"], 1, "cannot be written"),
    "OUTPUT lies below a file": (["run", "images", "note.txt/out"], 1, "cannot be written"),
    "an unknown storage": (["run", "gopher://x/y", "out"], 2, "gopher://"),
    "an unknown network": ([*_RUN, "--model", "resnet"], 1, "no network resnet"),
    "a network that is text": ([*_RUN, "--model", "note.txt"], 1, "not an ONNX network"),
    "a size that the network lacks": ([*_RUN, "--size", "224"], 1, "96 px only"),
    "a precision that nobody has": ([*_RUN, "--precision", "fp64"], 2, "precision"),
    "a share above one": ([*_RUN, "--variance", "95"], 2, "variance"),
    "no components": ([*_RUN, "--components", "0"], 2, "components"),
    "a count that is no number": ([*_RUN, "--max-rejects", "many"], 2, "max_rejects"),
    "a layout without a name": ([*_RUN, "--layout", "{label}/{split}"], 2, "{name}"),
    "a layout with an unknown part": ([*_RUN, "--layout", "{fruit}/{name}"], 2, "{fruit}"),
    "a Spark setting without a value": ([*_RUN, "--spark-conf", "x"], 2, "KEY=VALUE"),
    "a master that is none": ([*_RUN, "--master", "lokal"], 2, "lokal"),
    "reducing before embedding": (["reduce", "out"], 1, "Run `pomona"),
    "a report of nothing": (["report", "out"], 1, "Run `pomona"),
    "compacting nothing": (["compact", "out"], 1, "Run `pomona"),
    "samples into a folder in use": (["sample", "images"], 2, "not empty"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "images").mkdir()
    (folder / "empty").mkdir()
    Image.new("RGB", (20, 20), "red").save(folder / "images" / "one.jpg")
    (folder / "note.txt").write_text("not an image")
    (folder / "images.tar.gz").write_bytes(b"\x1f\x8b")
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_with_the_fix(mistake: str, folder: Path) -> None:
    arguments, code, told = MISTAKES[mistake]
    done = pomona(*arguments, cwd=folder)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 10
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [("POMONA_VARIANCE", "much", "variance"), ("POMONA_MASTER", "lokal", "lokal")],
)
def test_a_mistake_in_the_environment_is_told_like_one_in_a_flag(
    variable: str, value: str, told: str, folder: Path
) -> None:
    done = pomona(*_RUN, cwd=folder, env={variable: value})
    assert done.returncode in (1, 2)
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_settings_file_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pomona.toml").write_text("variance = [")
    done = pomona("run", folder / "images", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "pomona.toml" in done.stderr
    (tmp_path / "pomona.toml").write_text("varience = 0.9")
    done = pomona("run", folder / "images", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "varience" in done.stderr


def test_a_java_that_does_not_start_is_told_with_the_log(folder: Path, tmp_path: Path) -> None:
    java = tmp_path / "java"
    (java / "bin").mkdir(parents=True)
    (java / "release").write_text('JAVA_VERSION="21.0.1"\n')
    (java / "bin" / "java").write_text("#!/bin/sh\necho no such luck >&2\nexit 3\n")
    (java / "bin" / "java").chmod(0o755)
    done = pomona("run", folder / "images", tmp_path / "out", env={"JAVA_HOME": str(java)})
    assert done.returncode == 1
    assert "Java did not start" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 10
    log = done.stderr.rsplit("log: ", 1)[1].strip()
    assert "no such luck" in Path(log).read_text()


def test_no_arguments_and_help_show_the_commands() -> None:
    for arguments in ([], ["--help"]):
        shown = pomona(*arguments)
        assert "run" in shown.stdout + shown.stderr
        assert "Traceback" not in shown.stderr
    assert pomona("--version").stdout.startswith("pomona ")


def test_help_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pomona.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pyspark', 'numpy', 'pyarrow', 'PIL', 'openvino', 'onnxruntime', 'boto3'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
