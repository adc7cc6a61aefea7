"""``pomona cloud quote``: what a run would take, before it is begun."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o
from pomona.cli.cloud import EU, PriceFile, Region

if TYPE_CHECKING:
    from pomona.cloud.calibration import Calibration
    from pomona.cloud.prices import Prices
    from pomona.cloud.quote import Quote, Shape


def register(cloud: typer.Typer) -> None:
    """Add the command."""
    cloud.command("quote")(quote)


@o.takes(o.NETWORK, {"layout": o.Layout}, o.STORAGE)
def quote(
    source: o.Input,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Quote this type of worker alone.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", min=1, help="With --type: how many.")
    ] = None,
    spot: Annotated[bool, typer.Option("--spot", help="With --type.")] = False,
    master: Annotated[
        str | None, typer.Option("--master-type", metavar="TYPE", help="Default: t3/t4g.medium.")
    ] = None,
    arm: Annotated[bool, typer.Option("--arm", help="Shapes with ARM processors.")] = False,
    cores: Annotated[
        int | None,
        typer.Option("--cores", min=1, help="Of a run here. Default: all of this machine."),
    ] = None,
    prices: PriceFile = None,
    refresh: Annotated[
        bool, typer.Option("--refresh-prices", help="Ask AWS for the prices of today.")
    ] = False,
    save: Annotated[
        Path | None,
        typer.Option("--save-prices", metavar="FILE", help="Keep the prices for --prices."),
    ] = None,
    region: Region = EU,
    as_json: o.Json = False,
    verbose: o.Verbose = False,
    **flags: Any,
) -> None:
    """Time and money for INPUT, here and on a few clusters, from 200 images embedded now."""
    from pomona.cli.terminal import print_json, reporting, say

    with reporting(verbose=verbose):
        import json
        import time

        from pomona.cloud import quote as quoting
        from pomona.cloud.account import Cloud
        from pomona.cloud.calibration import calibrate
        from pomona.cloud.plan import DEFAULT_TYPE, machine_of
        from pomona.cloud.prices import load_prices, refreshed
        from pomona.settings import load_settings
        from pomona.spark.session import usable_cores

        Cloud("quote", region)
        settings = load_settings(**flags)
        machine = "arm64" if arm or (kind and machine_of(kind) == "arm64") else "x86_64"
        chief = master or DEFAULT_TYPE[machine_of(kind) if kind else machine]  # type: ignore[index]
        shapes = quoting.shapes(machine, chief)
        if kind is not None:
            shapes = [quoting.Shape(kind, chief, workers or 2, spot)]
        known = load_prices(prices)
        if refresh:
            kinds = sorted({s.worker for s in shapes} | {chief})
            known = refreshed(known, region, kinds, time.strftime("%Y-%m-%d", time.gmtime()))
        if save is not None:
            save.write_text(json.dumps(known.facts, indent=1) + "\n")
        for shape in shapes:
            known.instance_hour(shape.worker, region)
        say(f"listing {source} and embedding {quoting.SAMPLE} of its images")
        found = calibrate(source, settings, cores or usable_cores())
        here = quoting.predict(found, found.cores, here=True)
        made = [(shape, quoting.quote(found, shape, known, region)) for shape in shapes]
        if as_json:
            print_json(_facts(found, known, region, here, made))
            return
        _tell(source, found, known, region, here, made)


def _facts(
    found: Calibration,
    prices: Prices,
    region: str,
    here: Quote,
    made: list[tuple[Shape, Quote]],
) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "calibration": asdict(found),
        "prices": {"date": prices.date, "source": prices.source, "region": region},
        "here": here.facts() | {"setting": here.setting()},
        "shapes": [
            asdict(shape) | {"quote": one.facts(), "setting": one.setting()} for shape, one in made
        ],
    }


def _tell(
    source: str,
    found: Calibration,
    prices: Prices,
    region: str,
    here: Quote,
    made: list[tuple[Shape, Quote]],
) -> None:
    from pomona.cli.terminal import result, say
    from pomona.cloud.quote import ASSUMPTIONS

    result(
        f"{found.images:,} images, {found.bytes / 1e9:,.2f} GB; "
        f"{1 / found.core_seconds:,.0f} a second and core here in {found.precision}, "
        f"{1 / found.core_seconds_fp32:,.0f} in fp32"
    )
    result(f"{'':24}{'time':>10}{'EUR':>10}{'EUR/1,000':>12}{'EUR/h':>9}")
    result(f"{f'here, {found.cores} cores':24}{_time(here.seconds):>10}{'-':>10}{'-':>12}{'-':>9}")
    for shape, one in made:
        result(
            f"{shape!s:24}{_time(one.seconds):>10}{one.euros:>10.3f}"
            f"{one.euros_per_1000:>12.4f}{one.euros_an_hour:>9.3f}"
        )
    result(f"in {region}; prices of {prices.date}. {prices.source}")
    for text in ASSUMPTIONS:
        result(f"  - {text}")
    say("to have the ledger compare, put before the run, or hand to `cloud submit --quote`:")
    say(f"  POMONA_QUOTE='{here.setting()}' pomona run {source} OUTPUT")


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3_600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {left:02} s" if minutes else f"{left} s"
