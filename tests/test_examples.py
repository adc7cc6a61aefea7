"""The script and the notebook in examples/, each in a process and a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_EXAMPLES = Path(__file__).parents[1] / "examples"

_RUN = """
import sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=450, kernel_name="python3").execute()
nbformat.write(notebook, sys.argv[2])
"""


def _python(*arguments: str | Path, cwd: Path) -> str:
    """Run Python with an environment that has nothing of this process but its path."""
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "JUPYTER_PLATFORM_DIRS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=env, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_the_script(photographs: Path, tmp_path: Path) -> None:
    told = _python(
        _EXAMPLES / "embed_and_classify.py", photographs, tmp_path / "model", cwd=tmp_path
    )
    found = re.search(r"(\d+) images, (\d+)% named rightly", told)
    assert found is not None, told
    assert int(found[1]) == 58
    assert int(found[2]) > 50  # of 29 names


@pytest.mark.timeout(600)
def test_the_notebook(tmp_path: Path) -> None:
    _python("-c", _RUN, _EXAMPLES / "fruits.ipynb", tmp_path / "run.ipynb", cwd=tmp_path)
    told = _outputs(json.loads((tmp_path / "run.ipynb").read_text()))
    assert "290 photographs embedded by pomona-" in told
    assert re.search(r"\d+ of \d+ components keep 9\d% of the variance", told)
    assert "Apple Golden, Apple Golden" in told
    assert "image/png" in told
    assert "sure" in told


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = json.loads((_EXAMPLES / "fruits.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def _outputs(notebook: dict[str, Any]) -> str:
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert all(output["output_type"] != "error" for output in outputs)
    texts = [output.get("text", "") for output in outputs]
    kinds = [kind for output in outputs for kind in output.get("data", {})]
    return "".join(["".join(text) for text in texts] + kinds)
