"""Who may import whom: data flows one way, and a stage does not know its neighbours."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pomona

_ROOT = Path(pomona.__file__).parent

_BASE = {"errors", "schema", "columns", "memory"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "schema": set(),
    "memory": set(),
    "verdict": set(),
    "workspace": set(),
    "columns": {"errors"},
    "settings": {"errors", "images.layout", "storage.options"},
    "samples": {"errors", "schema"},
    "storage": _BASE,
    "ledger": {"errors", "storage"},
    "sealed": {"errors", "storage"},
    "tabular": _BASE | {"storage"},
    "spark": {"errors", "memory", "workspace"},
    "session": {"spark", "images.source", "workspace"},
    "images": _BASE | {"storage"},
    "embedding": _BASE | {"storage", "spark", "images"},
    "reduction": _BASE | {"storage", "spark", "sealed"},
    "access": _BASE | {"embedding", "images", "spark", "storage", "workspace"},
    "recognition": _BASE
    | {"embedding", "images", "ledger", "reduction.job", "sealed", "spark", "storage"},
    "report": _BASE | {"images", "ledger", "reduction.saving", "recognition.saving", "storage"},
    "steps": _BASE
    | {"embedding", "images", "ledger", "reduction", "report", "settings", "spark", "storage"}
    | {"recognition", "verdict", "workspace"},
    "cluster": {"errors", "spark", "storage"},
    "cloud": {"embedding", "errors", "images", "schema", "settings", "storage"}
    | {"access.policies"},
    "pipeline": {"errors", "ledger", "memory", "settings", "steps", "storage", "workspace"},
}
"""Package or module to what it may import of Pomona; the command line may import anything."""

PURE = [
    "columns",
    "images.decoding",
    "images.fitting",
    "images.headers",
    "images.layout",
    "images.planning",
    "images.sniffing",
    "reduction.moments",
    "reduction.principal",
    "access.policies",
    "samples",
]
"""Modules that compute: neither Spark nor the network's runtimes nor any storage."""
_IMPURE = ("pyspark", "openvino", "onnxruntime", "obstore", "deltalake", "boto3")


def _modules(name: str) -> list[Path]:
    path = _ROOT / name.replace(".", "/")
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            module = node.module or ""
            for alias in node.names:
                inside = _ROOT.parent / module.replace(".", "/") / f"{alias.name}.py"
                package = inside.with_suffix("")
                is_module = inside.exists() or package.is_dir()
                yield f"{module}.{alias.name}" if is_module else module


def _may(imported: str, allowed: set[str]) -> bool:
    return any(imported == name or imported.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("name", ALLOWED)
def test_imports_go_one_way(name: str) -> None:
    forbidden = {
        f"{file.relative_to(_ROOT)} imports {imported}"
        for file in _modules(name)
        for imported in _imports(file)
        if imported.startswith("pomona.")
        and not _may(imported.removeprefix("pomona."), ALLOWED[name] | {name})
    }
    assert not forbidden


@pytest.mark.parametrize("name", PURE)
def test_what_computes_knows_no_engine(name: str) -> None:
    for file in _modules(name):
        found = {i for i in _imports(file) if i.split(".")[0] in _IMPURE}
        assert not found, file


def test_every_part_has_its_rule() -> None:
    parts = {path.stem for path in _ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert parts - {"__init__", "__main__", "__pycache__", "cli", "py"} <= set(ALLOWED)


def test_only_the_command_line_prints() -> None:
    for file in _ROOT.rglob("*.py"):
        if "cli" in file.parts:
            continue
        calls = [
            node
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        ]
        assert not calls, file
