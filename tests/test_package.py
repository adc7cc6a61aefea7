from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pomona.embedding.catalogue import DEFAULT_MODEL

_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=_ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert f"pomona/embedding/networks/{DEFAULT_MODEL}.onnx" in names
    assert "pomona/report/templates/page.html.j2" in names
    assert "pomona/py.typed" in names
    roots = {name.split("/")[0].split("-")[0] for name in names}
    assert roots == {"pomona"}


def test_installed_from_the_wheel_it_runs(wheel: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", tmp_path / "site", wheel], check=True, timeout=120)
    code = (
        "import pomona, sys; assert pomona.__file__.startswith(sys.argv[1]), pomona.__file__\n"
        "from pomona.embedding.catalogue import DEFAULT_MODEL, resolve\n"
        "print(resolve(DEFAULT_MODEL).spec.size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "96", done.stderr
    commands = (tmp_path / "site" / "bin").iterdir()
    assert "pomona" in {path.name for path in commands}
