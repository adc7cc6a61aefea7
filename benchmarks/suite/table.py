"""The result as one table: what was measured, beside what is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BEGIN, END = "<!-- written by make bench -->\n", "<!-- end -->"
Row = tuple[str, str, str, str]


def print_table(result: dict[str, Any]) -> None:
    """Print what a result has; parts and peers that failed are told."""
    about = result["machine"]
    where = f"{about['cores']} cores of {about['processor']}, {about['memory_gb']:.0f} GB"
    quick = ", QUICK" if result["quick"] else ""
    print(f"\nPomona {result['version']} ({result['commit']}), {result['date']}{quick}: {where}\n")
    table = list(rows(result))
    widths = [max(len(row[at]) for row in table) for at in range(4)]
    for number, row in enumerate(table):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
        if number == 0:
            print("  ".join("-" * width for width in widths))


def markdown(result: dict[str, Any]) -> str:
    """The same table for a page."""
    about = result["machine"]
    told = f"Pomona {result['version']}, {result['date']}, {about['cores']} cores of "
    told += f"{about['processor']}, {about['memory_gb']:.0f} GB:\n\n"
    heading, *table = ((row[0].replace("  ", "\u2003"), *row[1:]) for row in rows(result))
    lines = [heading, ("---", "---:", "---:", "---"), *table]
    return told + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def replace_between(page: Path, text: str) -> None:
    """Put text between the two marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{page} has no place that is {BEGIN!r}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def rows(result: dict[str, Any]) -> Iterator[Row]:
    """Heading, then one row a figure: what, value, spread, wanted and whether it is met."""
    yield "what", "median", "least to most", "wanted"
    for part, describe in _DESCRIBED.items():
        found = result["parts"].get(part)
        if found is None:
            continue
        if "error" in found:
            yield part, "failed", "", found["error"][:60]
            continue
        yield from describe(found)
        for name, why in found.get("failed", {}).items():
            yield f"{part}: {name}", "failed", "", why[:60]


def _value(what: str, figure: Any, unit: str, wanted: str = "", met: bool | None = None) -> Row:
    if not isinstance(figure, dict):
        figure = {"median": figure, "least": figure, "most": figure}
    verdict = "" if met is None else (" met" if met else " NOT MET")
    spread = "" if figure["least"] == figure["most"] else (
        f"{_number(figure['least'])} to {_number(figure['most'])}"
    )  # fmt: skip
    return what, f"{_number(figure['median'])} {unit}".strip(), spread, wanted + verdict


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _at_least(what: str, figure: dict[str, Any], least: float, unit: str = "x") -> Row:
    return _value(what, figure, unit, f">= {least:g}", figure["median"] >= least)


def _at_most(what: str, figure: Any, most: float, unit: str) -> Row:
    value = figure["median"] if isinstance(figure, dict) else figure
    return _value(what, figure, unit, f"<= {most:g}", value <= most)


def _embed100(found: dict[str, Any]) -> Iterator[Row]:
    names = {
        "bare": "MobileNetV2 100 px: the network alone (a)",
        "loop": "  plain loop: read, decode, network (b)",
        "chain": "  pomona embed (c)",
        "daft_onnxruntime": "  Daft, ONNX Runtime in fp32 (f)",
        "daft": "  Daft, our engine and precision (f)",
        "ray_onnxruntime": "  Ray Data, ONNX Runtime in fp32 (e)",
        "ray": "  Ray Data, our engine and precision (e)",
    }
    for name, what in names.items():
        if name in found["images_per_second"]:
            yield _value(what, found["images_per_second"][name], "images/s")
    yield _at_least("  pomona / plain loop", found["of_the_loop"], 0.90)
    yield _at_least("  pomona / network alone", found["of_the_bare_network"], 0.80)
    for name, what, least in (("daft", "Daft", 2), ("ray", "Ray Data", 4)):
        if f"times_{name}_onnxruntime" in found:
            yield _at_least(
                f"  pomona / {what}, ONNX Runtime", found[f"times_{name}_onnxruntime"], least
            )
        if f"times_{name}" in found:
            yield _value(f"  pomona / {what}, our engine", found[f"times_{name}"], "x")


def _notebook(found: dict[str, Any]) -> Iterator[Row]:
    rates = found["images_per_second"]
    for name, what in {
        "at_224": "MobileNetV2 224 px: pomona embed",
        "notebook": "  the notebook's recipe (d)",
        "built_in": "  pomona embed, built-in network",
    }.items():
        if name in rates:
            yield _value(what, rates[name], "images/s")
    for name, what, least in (
        ("at_224_times_notebook", "  pomona / notebook, same network", 8),
        ("built_in_times_notebook", "  pomona, built-in network / notebook", 40),
    ):
        if name in found:
            yield _at_least(what, found[name], least)
    yield _value("  built-in: pomona / plain loop", found["built_in_of_the_loop"], "x")


def _pca(found: dict[str, Any]) -> Iterator[Row]:
    seconds = found["seconds"]
    size = f"PCA of {found['rows']:,} x {found['dimension']:,} to {found['components']}"
    yield _value(f"{size}: pomona reduce", seconds["chain"], "s")
    yield _value("  scikit-learn, same files", seconds["scikit_learn"], "s")
    if "spark_ml" in seconds:
        yield _value("  spark.ml: scaler, PCA", seconds["spark_ml"], "s")
    yield _at_most("  pomona / scikit-learn", found["of_scikit_learn"], 3, "x")
    if "times_spark_ml" in found:
        yield _at_least("  spark.ml / pomona", found["times_spark_ml"], 10)


def _decoding(found: dict[str, Any]) -> Iterator[Row]:
    for case in found["cases"]:
        what = f"12 megapixels to {case['size']} px: pomona"
        yield _value(what, case["pomona_ms"], "ms")
        yield _value("  Pillow, whole", case["pillow_ms"], "ms")
        yield _at_least("  Pillow / pomona", dict.fromkeys(_SPREAD, case["times"]), 3)


def _planning(found: dict[str, Any]) -> Iterator[Row]:
    yield _at_most(f"planning {found['keys']:,} keys", found["seconds"], 60, "s")
    yield _at_most("  memory", found["peak_mb"], 1_000, "MB")
    yield _value("  again, half of them known", found["again_seconds"], "s")


def _startup(found: dict[str, Any]) -> Iterator[Row]:
    seconds = found["seconds"]
    yield _at_most("pomona --help", seconds["help"], 0.3, "s")
    yield _at_most("a run with nothing to do", seconds["nothing_to_do"], 5, "s")
    yield _at_most("from the command to the first image", seconds["first_image"], 10, "s")


def _whole_run(found: dict[str, Any]) -> Iterator[Row]:
    yield _at_most(f"pomona run, {found['images']:,} images", found["seconds"], 60, "s")
    for name, size in found["peak_bytes"].items():
        yield _value(f"  memory of {name}", size / 1e6, "MB")


def _cores(found: dict[str, Any]) -> Iterator[Row]:
    for name, what in {"one": "one worker core", "all": "all cores"}.items():
        yield _value(what, found["images_per_second"][name], "images/s")
    yield _at_least("  gain", found["gain"], 1.9)


_SPREAD = ("median", "least", "most")
_DESCRIBED: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "embed100": _embed100,
    "notebook": _notebook,
    "pca": _pca,
    "decoding": _decoding,
    "planning": _planning,
    "startup": _startup,
    "whole_run": _whole_run,
    "cores": _cores,
}
