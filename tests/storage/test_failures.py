from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from pomona.errors import PomonaError
from pomona.ledger import Ledger
from pomona.samples import write_samples
from pomona.settings import load_settings
from pomona.steps.embed import embed
from pomona.steps.observer import Silent
from pomona.steps.shared import Run
from pomona.storage import Location, aws
from pomona.storage.lock import writing
from pomona.workspace import open_workspace
from tests.servers.faults import fault_proxy
from tests.servers.objects import object_server
from tests.servers.trials import SETTINGS, TRIALS, Ended, Orchard, Trial, check, play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from tests.servers.faults import FaultProxy
    from tests.servers.objects import ObjectServer

_IMAGES = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_samples(folder, count=_IMAGES, processes=1)
    return folder


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[ObjectServer, FaultProxy]]:
    with object_server() as server, fault_proxy(server.url) as proxy:
        yield server, proxy


@pytest.fixture
def context(spark: SparkSession, aws_home: Path) -> Iterator[SparkContext]:
    """Spark, whose workers have the AWS settings of the test."""
    import os

    context = spark.sparkContext
    before = dict(context.environment)
    context.environment |= {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    yield context
    context.environment = before


@contextmanager
def _run(context: SparkContext, source: str, output: Location, settings: Any) -> Iterator[Run]:
    future: Future[SparkContext] = Future()
    future.set_result(context)
    with open_workspace() as workspace:
        ledger = Ledger(run=workspace.run, input=source, output=str(output), steps=["embed"])
        run = Run(output, settings, workspace, Silent(), ledger)
        run._spark = future
        yield run


def _embed(context: SparkContext, source: str, output: str, given: dict[str, Any]) -> Ended:
    aws.forget()
    settings = load_settings(**given)
    try:
        place = Location.parse(output, settings.storage)
        with _run(context, source, place, settings) as run, writing(place):
            embed(run, source)
    except PomonaError as error:
        return Ended(str(error), {})
    return Ended("", run.ledger.facts())


@pytest.fixture(scope="module")
def expected(
    spark: SparkSession, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> pl.DataFrame:
    output = tmp_path_factory.mktemp("expected")
    ended = _embed(spark.sparkContext, str(images), str(output), SETTINGS)
    assert ended.ledger["embedded"] == _IMAGES
    return pl.read_delta(str(output / "features")).select("path", "features").sort("path")


@pytest.mark.parametrize("trial", TRIALS, ids=lambda trial: trial.name)
def test_whatever_happens_the_next_run_ends_right(
    trial: Trial,
    context: SparkContext,
    service: tuple[ObjectServer, FaultProxy],
    images: Path,
    expected: pl.DataFrame,
) -> None:
    orchard = Orchard(*service, images, f"trial-{TRIALS.index(trial)}")

    def run(source: str, output: str, settings: dict[str, Any]) -> Ended:
        return _embed(context, source, output, settings)

    check(trial, orchard, play(trial, orchard, run), expected)
