"""DataFrames of features and labels to what the recogniser learns from, and answers for them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql.functions import arrow_udf, col, struct  # type: ignore[attr-defined]

from pomona.columns import lists_of, matrix_of
from pomona.recognition.learning import TRAINS, VALIDATES, Block
from pomona.recognition.normalising import normalise
from pomona.recognition.splitting import Role, Survey
from pomona.schema import GROUP, PATH, SPLIT
from pomona.spark.features import of_batches
from pomona.spark.jobs import Told, translate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark import RDD
    from pyspark.sql import DataFrame

    from pomona.recognition.recogniser import Recogniser
    from pomona.recognition.splitting import Split

_KEYS = (PATH, "label", SPLIT, GROUP)


def survey_of(rows: DataFrame) -> Survey:
    """Paths, labels, splits and groups, looked at on the workers."""

    def look(some: Iterable[Any]) -> Iterator[Survey]:
        survey = Survey()
        for row in some:
            survey.see([row.path or ""], [row.label], [row.split], [row.group])
        yield survey

    keys = rows.select(*_KEYS)
    try:
        return keys.rdd.mapPartitions(look).treeAggregate(Survey(), Survey.merge, Survey.merge)
    except Exception as error:
        raise translate(error, "looking at labels") from error


def blocks_of(rows: DataFrame, classes: tuple[str, ...], split: Split | None) -> RDD[Block]:
    """Rows that train and rows that validate, a batch to a block.

    Args:
        rows: path, label, split, group, features as arrays, and ``mark``.
        classes: labels in their order.
        split: gives the roles; None where ``mark`` says what validates.
    """
    # Nondeterministic, lest the filter below makes Spark do everything twice.
    made = arrow_udf(
        of_batches(Told(_Make(classes, split), "reading features")), "binary"
    ).asNondeterministic()
    packed = rows.select(made(struct(*rows.columns)).alias("block"))
    return packed.where(col("block").isNotNull()).rdd.map(lambda row: _unpacked(row.block))


class _Make:
    """Runs on the workers: a batch to one packed block in its first row, nothing in the others."""

    def __init__(self, classes: tuple[str, ...], split: Split | None) -> None:
        self._classes = classes
        self._split = split

    def __call__(self, rows: pa.StructArray) -> pa.Array:
        batch = pa.RecordBatch.from_struct_array(rows)
        if self._split is None:
            marks = pc.fill_null(batch.column("mark"), False).to_numpy(zero_copy_only=False)
            roles = np.where(marks, Role.VALIDATE, Role.TRAIN)
        else:
            roles = self._split.roles(*(batch.column(name).to_pylist() for name in _KEYS))
        wanted = np.isin(roles, (Role.TRAIN, Role.VALIDATE))
        some = batch.filter(pa.array(wanted))
        found = None
        if some.num_rows:
            folds = np.where(roles[wanted] == Role.VALIDATE, VALIDATES, TRAINS)
            labels = pc.index_in(some.column("label"), value_set=pa.array(self._classes))
            found = _packed(
                Block(
                    normalise(matrix_of(some.column("features"))),
                    labels.to_numpy().astype(np.intp),
                    folds.astype(np.int8),
                )
            )
        return pa.array([found, *[None] * (len(rows) - 1)], pa.binary())


def _packed(block: Block) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **vars(block))
    return sink.getvalue()


def _unpacked(data: bytes) -> Block:
    with np.load(io.BytesIO(bytes(data)), allow_pickle=False) as arrays:
        return Block(**{name: arrays[name] for name in arrays.files})


class Recognise:
    """Runs on the workers: features to label, probabilities and verdict."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser

    def __call__(self, rows: pa.ListArray) -> pa.Array:
        """A struct of label, probability and verdict for each row."""
        naming = self._recogniser.naming
        probabilities, novelty = self._recogniser.recognise(matrix_of(rows))
        labels = pa.array(naming.classes).take(pa.array(probabilities.argmax(axis=1)))
        verdicts = pa.array(naming.verdicts(probabilities, novelty), pa.string())
        return pa.StructArray.from_arrays(
            [labels, lists_of(probabilities), verdicts], ["label", "probability", "verdict"]
        )
