from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pomona.errors import ModelError, PomonaError, SparkError
from pomona.spark.jobs import run_chunks, translate, tree_reduce


def _double(number: int) -> int:
    return 2 * number


def _refuse(number: int) -> int:
    if number == 3:
        raise ModelError("The network is broken.", "Take another.")
    return number


def _stumble(number: int) -> int:
    return 1 // (number - 3)


def _die_once(mark: str) -> int:
    """Kill the worker as the system does when memory is short; the second attempt lives."""
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return 7
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _always_die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def _process(_: int) -> int:
    return os.getpid()


def test_results_come_chunk_by_chunk_in_order(spark: SparkSession) -> None:
    chunks = [[1, 2, 3], [4], [5, 6]]
    found = list(run_chunks(spark.sparkContext, chunks, _double, describe="doubling"))
    assert found == [[2, 4, 6], [8], [10, 12]]


def _begin(_: int) -> float:
    begin = time.time()
    time.sleep(0.02)
    return begin


def test_chunks_are_begun_in_order(spark: SparkSession) -> None:
    for _ in range(5):
        chunks = [[0] * 4, [1] * 4, [2] * 4]
        begins = list(run_chunks(spark.sparkContext, chunks, _begin, describe="x"))
        assert all(min(one) < min(other) for one, other in pairwise(begins))


def test_chunks_are_taken_lazily(spark: SparkSession) -> None:
    taken: list[int] = []

    def chunks() -> Iterator[list[int]]:
        for number in range(10):
            taken.append(number)
            yield [number]

    results = run_chunks(spark.sparkContext, chunks(), _double, describe="doubling")
    next(results)
    assert len(taken) <= 4
    results.close()
    assert len(taken) <= 4


def test_workers_are_kept_between_chunks(spark: SparkSession) -> None:
    chunks = [[1, 2]] * 4
    found = list(run_chunks(spark.sparkContext, chunks, _process, describe="looking"))
    assert len({pid for chunk in found for pid in chunk}) <= 3


def test_a_workers_own_error_arrives_as_it_was(spark: SparkSession) -> None:
    with pytest.raises(ModelError) as caught:
        list(run_chunks(spark.sparkContext, [[1, 2, 3, 4]], _refuse, describe="running"))
    assert (caught.value.what, caught.value.fix) == ("The network is broken.", "Take another.")
    with pytest.raises(ModelError):
        tree_reduce(spark.sparkContext, [1, 3], _refuse, max, describe="running")


def test_a_fault_in_a_worker_is_told_in_one_sentence(spark: SparkSession) -> None:
    with pytest.raises(SparkError) as caught:
        list(run_chunks(spark.sparkContext, [[1, 3]], _stumble, describe="dividing"))
    assert "while dividing: ZeroDivisionError" in caught.value.what
    assert "test_jobs.py:" in caught.value.what
    assert len(str(caught.value).splitlines()) <= 3


def test_a_worker_that_is_killed_is_replaced(spark: SparkSession, tmp_path: Path) -> None:
    payloads = [str(tmp_path / "mark"), str(tmp_path / "mark")]
    found = list(run_chunks(spark.sparkContext, [payloads], _die_once, describe="dying"))
    assert found == [[7, 7]]


def test_a_worker_that_always_dies_is_one_clear_error(spark: SparkSession) -> None:
    with pytest.raises(SparkError, match="worker died"):
        list(run_chunks(spark.sparkContext, [[1]], _always_die, describe="dying"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("java.io.IOException: No space left on device\n\tat x", "disk is full"),
        ("java.lang.OutOfMemoryError: Java heap space", "ran out of memory"),
        ("ModuleNotFoundError: No module named 'openvino'", "lacks the Python package openvino"),
        (
            "x/python3: Error while finding module specification for 'pomona.spark.daemon' "
            "(ModuleNotFoundError: No module named 'pomona')",
            "lacks the Python package pomona",
        ),
        ('IOException: Cannot run program "/x/python": error=2, No such file', "run /x/python"),
        (
            "[PYTHON_VERSION_MISMATCH] Python in worker has different version: 3.12 than that in",
            "run Python 3.12",
        ),
        ("something\n\tat java.lang.Thread", "Spark failed while testing: something"),
        ("", "Exception"),
    ],
)
def test_known_failures_have_a_sentence_of_their_own(text: str, told: str) -> None:
    found = translate(Exception(text), "testing")
    assert isinstance(found, PomonaError)
    assert told in found.what
    assert found.fix
    assert len(str(found).splitlines()) <= 3
