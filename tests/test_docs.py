"""The pages in docs/ build, and what they tell people to type works."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.tables import write_features

_DOCS = Path(__file__).parents[1] / "docs"


def _blocks(page: str, language: str) -> list[str]:
    text = (_DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built; a warning, such as a link to nothing, is an error."""
    folder = tmp_path_factory.mktemp("site")
    options: list[str | Path] = ["-W", "--keep-going", "-q", "-d", folder / "doctrees"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, _DOCS, folder / "html"],
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_built_and_in_the_navigation(site: Path) -> None:
    pages = {path.relative_to(_DOCS).with_suffix("") for path in _DOCS.rglob("*.md")}
    contents = (site / "index.html").read_text()
    decisions = (site / "decisions" / "index.html").read_text()
    for page in pages - {Path("index")}:
        assert (site / page).with_suffix(".html").exists()
        where = decisions if page.parent.name and page.name != "index" else contents
        link = page.name if where is decisions else page
        assert f'href="{link}.html"' in where, page


def test_every_public_name_has_its_entry(site: Path) -> None:
    import pomona

    text = (site / "api.html").read_text()
    for name in (*pomona.__all__, "ImageSource"):
        assert name == "__version__" or re.search(rf'id="pomona[\w.]*\.{name}"', text), name
    assert "outputType" in text
    assert "setHandleInvalid" in text


def test_the_pages_ask_no_other_host_for_anything(site: Path) -> None:
    loaded = re.compile(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not loaded.findall(page.read_text(encoding="utf-8")), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


@pytest.mark.timeout(600)
def test_the_code_in_python_md_runs(
    spark: SparkSession, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_features(tmp_path / "RESULTS")
    (tmp_path / "ARRIVING").mkdir()
    for file in (photographs / "Test" / "Kiwi").iterdir():
        shutil.copy(file, tmp_path / "ARRIVING")
    names: dict[str, Any] = {}
    blocks = _blocks("python.md", "python")
    assert len(blocks) > 6
    for block in blocks:
        code = block.replace('"PHOTOS', f'"{photographs}')
        for folder in ("RESULTS", "MODELS", "ARRIVING"):
            code = code.replace(f'"{folder}', f'"{tmp_path / folder}')
        exec(compile(code, "docs/python.md", "exec"), names)
    assert names["reduced"].columns[-1] == "components"
    assert names["table"].count() == 6
    assert spark.read.parquet(str(tmp_path / "MODELS" / "embedded")).count() == 2
    assert "truncated" in capsys.readouterr().out
    names["features"].unpersist()


@pytest.mark.timeout(900)  # a dozen commands, three Sparks
def test_the_tutorial_from_bucket_to_map(bucket: Any, tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    told = []
    for line in "".join(_blocks("tutorial.md", "sh")).splitlines():
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(line)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=240,
        )
        assert done.returncode == 0, (line, done.stderr)
        told.append(done.stdout + done.stderr)
    assert "nothing to embed" in told[4]
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    header, *rows = (tmp_path / "components.csv").read_text().splitlines()
    assert "components_0" in header
    assert len(rows) == 290
    assert any(item.key == "for-the-team/features.parquet" for item in bucket.objects.all())
    assert "Lime" in told[8]
    (code,) = _blocks("tutorial.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "Apple Golden" in done.stdout
