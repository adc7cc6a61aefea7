from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """One Spark for the whole test run, on two cores."""
    from pomona.spark import start_session

    session = start_session("local[2]", conf={"spark.sql.shuffle.partitions": "2"})
    yield session
    session.stop()
