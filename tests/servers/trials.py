"""What can go wrong between the chain and a bucket: each cause, and what has to come of it.

The tests and ``benchmarks/failures.py`` play the same trials: a run through the fault, then the
same run again without it. Whatever the first came to, afterwards every image is in the table
exactly once, with the features that a run on a local folder gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.servers.faults import Fault, FaultProxy
from tests.servers.objects import ObjectServer

BUCKET = "orchard"
SETTINGS: dict[str, Any] = {
    "precision": "fp32",
    "engine": "onnxruntime",
    "task_images": 8,
    "chunk_tasks": 2,
    "max_rejects": "10%",
}
"""Many small commits, so that faults fall between them."""

_KEYS = {"aws_access_key_id": "AKIAPOMONATESTS00001", "aws_secret_access_key": "none"}


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        error: what a person was told; empty where it finished.
        ledger: its counts; empty where it did not get that far.
    """

    error: str
    ledger: dict[str, Any]


Run = Callable[[str, str, dict[str, Any]], Ended]
"""INPUT, OUTPUT and settings to how a run of ``embed`` ended."""


class Orchard:
    """One trial's bucket: the same images for each, below a prefix of its own."""

    def __init__(self, server: ObjectServer, proxy: FaultProxy, images: Path, name: str) -> None:
        self._server, self.proxy = server, proxy
        self.source, self.output = f"s3://{BUCKET}/{name}/in", f"s3://{BUCKET}/{name}/out"
        self.paths = sorted(str(path.relative_to(images)) for path in images.rglob("*.jpg"))
        server.load(images, BUCKET, f"{name}/in/")
        self._name = name

    @property
    def client(self) -> Any:
        """boto3, past the proxy."""
        import boto3

        return boto3.client("s3", endpoint_url=self._server.url, region_name="us-east-1", **_KEYS)

    def key(self, path: str) -> str:
        """The key of an image."""
        return f"{self._name}/in/{path}"

    def features(self) -> pl.DataFrame:
        """The table, as polars reads it past the proxy."""
        return pl.read_delta(
            f"{self.output}/features",
            storage_options={
                **_KEYS,
                "aws_region": "us-east-1",
                "aws_endpoint_url": self._server.url,
                "aws_allow_http": "true",
            },
        ).sort("path")

    def another_writer(self) -> None:
        """Commits a row of its own to the table of features."""
        from deltalake import write_deltalake

        row = {
            "path": "from another writer",
            "etag": "x",
            "width": 1,
            "height": 1,
            "model": "another",
            "features": [0.0],
        }
        schema = self.features().schema
        frame = pl.DataFrame([row], schema={name: schema[name] for name in row})
        rows = frame.with_columns(
            pl.lit(None, schema[name]).alias(name) for name in schema if name not in row
        ).select(schema.names())
        write_deltalake(
            f"{self.output}/features",
            rows.to_arrow(),
            mode="append",
            storage_options={
                **_KEYS,
                "aws_region": "us-east-1",
                "aws_endpoint_url": self._server.url,
                "aws_allow_http": "true",
            },
        )


@dataclass(frozen=True)
class Trial:
    """One cause and its outcome.

    Attributes:
        name: for people.
        faults: made for one bucket.
        stops: a regular expression for what is told where the run has to stop; None where it has
            to finish.
        rejects: reasons that the first run's ledger counts, where it finishes.
        settings: beside :data:`SETTINGS`, for the first run.
        extra: paths in the table that are no images of the bucket.
        lost: how many images the bucket does not hold any more.
    """

    name: str
    faults: Callable[[Orchard], list[Fault]]
    stops: str | None = None
    rejects: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    lost: int = 0


_IMAGE, _WRITE = r"GET .*\.jpg", r"PUT .*(part-|_delta_log)"
_IMPATIENT = {"retry_seconds": 1}


def _delete_last(orchard: Orchard) -> list[Fault]:
    key = orchard.key(orchard.paths[-1])
    return [
        Fault(
            "hook",
            _IMAGE,
            times=1,
            call=lambda: orchard.client.delete_object(Bucket=BUCKET, Key=key),
        )
    ]


def _overwrite_last(orchard: Orchard) -> list[Fault]:
    def overwrite() -> None:
        client = orchard.client
        first, last = orchard.key(orchard.paths[0]), orchard.key(orchard.paths[-1])
        data = client.get_object(Bucket=BUCKET, Key=first)["Body"].read()
        client.put_object(Bucket=BUCKET, Key=last, Body=data)

    return [Fault("hook", _IMAGE, times=1, call=overwrite)]


TRIALS = [
    Trial(
        "503 SlowDown, bursts of 40 and of 4",
        lambda _: [
            Fault("status", _IMAGE, times=40),
            Fault("status", r"list-type|_delta_log|PUT .*part-", times=4, skip=2),
        ],
    ),
    Trial(
        "500 InternalError, 10 in a row",
        lambda _: [Fault("status", ".", times=10, skip=12, status=500, code="InternalError")],
    ),
    Trial("connection reset in mid-body, 10 times", lambda _: [Fault("reset", _IMAGE, times=10)]),
    Trial("body shorter than promised, 10 times", lambda _: [Fault("short", _IMAGE, times=10)]),
    Trial(
        "stalled body, 3 times",
        lambda _: [Fault("stall", _IMAGE, times=3)],
        settings={"silence_seconds": 2},
    ),
    Trial("20 kB a second", lambda _: [Fault("slow", _IMAGE, rate=20_000)]),
    Trial(
        "the answers to writes are lost, 6 times",
        lambda _: [Fault("reset", _WRITE, times=3), Fault("after", _WRITE, times=3, status=500)],
    ),
    Trial("an object is deleted after the listing", _delete_last, rejects={"vanished": 1}, lost=1),
    Trial("an object is overwritten after the listing", _overwrite_last, rejects={"changed": 1}),
    Trial(
        "503 SlowDown for good, in mid-run",
        lambda _: [Fault("status", ".", skip=90)],
        stops="SlowDown",
        settings=_IMPATIENT,
    ),
    Trial(
        "images alone cannot be read any more",
        lambda _: [Fault("status", _IMAGE, skip=60)],
        stops="Cannot read .*jpg.*SlowDown",
        settings=_IMPATIENT,
    ),
    Trial(
        "nothing can be written any more",
        lambda _: [Fault("status", r"PUT .*part-", skip=2)],
        stops="Cannot write .*part-.*SlowDown",
        settings=_IMPATIENT,
    ),
    Trial(
        "403 in mid-run: the credentials are revoked",
        lambda _: [Fault("status", ".", skip=90, status=403, code="InvalidAccessKeyId")],
        stops="revoked.*InvalidAccessKeyId",
    ),
    Trial(
        "403 in mid-run: the rights are withdrawn",
        lambda _: [Fault("status", ".", skip=90, status=403, code="AccessDenied")],
        stops="refuses it.*AccessDenied",
    ),
    Trial(
        "the service's name cannot be resolved",
        lambda _: [],
        stops="cannot be resolved",
        settings={"endpoint_url": "http://storage.pomona.invalid", **_IMPATIENT},
    ),
    Trial(
        "another writer's commit comes first",
        lambda orchard: [
            Fault("hook", r"PUT .*features/_delta_log/0*1\.json", call=orchard.another_writer)
        ],
        stops="Something else wrote",
        extra=("from another writer",),
    ),
]


def play(trial: Trial, orchard: Orchard, run: Run) -> tuple[Ended, Ended]:
    """The run through the fault, and the run after it."""
    proxy = orchard.proxy
    through = {**SETTINGS, "endpoint_url": proxy.url}
    proxy.faults[:] = faults = trial.faults(orchard)
    first = run(orchard.source, orchard.output, {**through, **trial.settings})
    proxy.faults.clear()
    assert all(fault.seen for fault in faults), "the fault befell nobody"
    second = run(orchard.source, orchard.output, through)
    return first, second


def check(
    trial: Trial, orchard: Orchard, ended: tuple[Ended, Ended], expected: pl.DataFrame
) -> None:
    """Make sure that the runs ended as they have to, and that the table is right.

    Args:
        trial: what was played.
        orchard: on what.
        ended: by :func:`play`.
        expected: path and features of a run on a local folder, sorted by path.
    """
    import re

    first, second = ended
    if trial.stops is None:
        assert not first.error, first.error
        assert first.ledger["reasons"] == trial.rejects, first.ledger["reasons"]
    else:
        assert re.search(trial.stops, first.error, re.DOTALL), first.error
        assert len(first.error.splitlines()) <= 10, first.error
    assert not second.error, second.error
    for facts in (first.ledger, second.ledger) if trial.stops is None else (second.ledger,):
        found = facts["embedded"] + facts["rejected"] + facts["unchanged"]
        assert facts["listed"] == found, facts
    assert second.ledger["listed"] == len(orchard.paths) - trial.lost
    table = orchard.features()
    paths = orchard.paths[: len(orchard.paths) - trial.lost]
    assert table["path"].to_list() == sorted([*paths, *trial.extra])
    if "changed" in trial.rejects:
        paths = paths[:-1]
    mine = table.filter(pl.col("path").is_in(paths))
    wanted = expected.filter(pl.col("path").is_in(paths))
    ours, theirs = (np.array(frame["features"].to_list(), np.float32) for frame in (mine, wanted))
    assert np.allclose(ours, theirs, atol=1e-5)
