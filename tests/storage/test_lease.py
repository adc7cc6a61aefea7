from __future__ import annotations

import json
import multiprocessing
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pomona.errors import BusyError, StorageError
from pomona.storage import Location, StorageOptions, aws, open_store
from pomona.storage.lease import KEY, Lease
from pomona.storage.lock import ensure_held, writing
from pomona.storage.s3 import S3Store
from tests.servers.faults import Fault, fault_proxy
from tests.servers.objects import object_server

if TYPE_CHECKING:
    from pathlib import Path

OUT = "s3://orchard/out"


def _store() -> S3Store:
    found = open_store(OUT)
    assert isinstance(found, S3Store)
    return found


def _held(bucket: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(bucket.Object("out/.lock").get()["Body"].read())
    return facts


def test_a_second_run_is_refused_until_the_first_ends(bucket: Any) -> None:
    _store().write("results", b"?")
    with writing(Location.parse(OUT)):
        assert _held(bucket)["pid"] == os.getpid()
        with (
            pytest.raises(BusyError, match=f"process {os.getpid()}"),
            writing(Location.parse(OUT)),
        ):
            pass
        with writing(Location.parse("s3://orchard/out2")):
            pass
    assert _held(bucket)["returned"]
    with writing(Location.parse(OUT)):
        assert not _held(bucket)["returned"]


def test_a_run_that_wrote_nothing_leaves_nothing(bucket: Any) -> None:
    with writing(Location.parse(OUT)):
        pass
    assert not list(bucket.objects.all())


def test_a_lease_is_renewed_while_the_run_lasts(bucket: Any) -> None:
    lease = Lease(_store(), seconds=2, every=0.2)
    lease.take()
    first = _held(bucket)["renewal"]
    deadline = time.monotonic() + 20
    while _held(bucket)["renewal"] == first and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _held(bucket)["renewal"] != first
    lease.check()
    lease.give_back()


def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_stops(bucket: Any) -> None:
    old = Lease(_store(), seconds=1, every=60)  # it will not renew in time
    old.take()
    old.check()
    facts = _held(bucket)
    bucket.put_object(Key="out/.lock", Body=json.dumps({**facts, "machine": "elsewhere"}).encode())
    new = Lease(_store(), seconds=1, every=60)
    with pytest.raises(BusyError):
        new.take()
    time.sleep(2.5)  # HTTP dates are whole seconds
    new.take()
    assert _held(bucket)["owner"] != facts["owner"]
    with pytest.raises(BusyError, match="renewed in time"):
        old.check()
    old.give_back()
    assert not _held(bucket)["returned"]
    new.give_back()


def test_a_holder_learns_from_its_renewal_that_it_lost_the_lease(bucket: Any) -> None:
    lease = Lease(_store(), seconds=60, every=0.2)
    lease.take()
    bucket.put_object(Key="out/.lock", Body=b'{"owner": "another"}')
    lease._heart.join(20)
    with pytest.raises(BusyError, match="took it over"):
        lease.check()
    lease.give_back()
    assert _held(bucket) == {"owner": "another"}


def test_a_commit_needs_the_lease(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    from pomona.storage.datafile import write_datafile
    from pomona.storage.table import Table

    monkeypatch.setattr("pomona.storage.lease.RENEWED_EVERY", 0.2)
    rows = pa.table({"path": ["a", "b"]})
    with writing(Location.parse(OUT)):
        table = Table(Location.parse(f"{OUT}/things"), rows.schema)
        table.create()
        table.commit([write_datafile(table.store, rows, "x")])
        bucket.put_object(Key="out/.lock", Body=b'{"owner": "another"}')
        deadline = time.monotonic() + 30
        file = write_datafile(table.store, rows, "x")
        with pytest.raises(BusyError, match=r"lock of .* was lost"):
            while time.monotonic() < deadline:
                ensure_held(table.location)
                time.sleep(0.1)
        with pytest.raises(BusyError):
            table.commit([file])
    assert Table(table.location, rows.schema).rows() == 2


def _hold_and_die(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    lease = Lease(_store())
    lease.take()
    os._exit(9)


def test_the_lease_of_a_killed_process_of_this_machine_is_free_at_once(bucket: Any) -> None:
    environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    process = multiprocessing.get_context("spawn").Process(
        target=_hold_and_die, args=(environment,)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert not _held(bucket)["returned"]
    with writing(Location.parse(OUT)):
        assert _held(bucket)["pid"] == os.getpid()


@pytest.mark.parametrize("where", [r"^PUT /orchard/out/\.lock", r"^PUT .*lock"])
def test_an_answer_that_was_lost_does_not_lock_a_run_out(
    bucket: Any, moto: str, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    with fault_proxy(moto) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        aws.forget()
        lost = Fault("after", where, times=1, status=500, code="InternalError")
        proxy.faults.append(lost)
        with writing(Location.parse(OUT)):
            assert lost.seen == 1
            assert _held(bucket)["pid"] == os.getpid()


def test_a_service_that_ignores_conditions_is_for_sole_writers(aws_home: Path) -> None:
    with object_server(conditional="ignored") as server:
        server.fill("orchard", "in/", 1)
        asked = Location.parse(OUT, StorageOptions(endpoint_url=server.url))
        with pytest.raises(StorageError, match="conditional put") as raised, writing(asked):
            pass
        assert "--sole-writer" in raised.value.fix
        assert not open_store(asked).exists(KEY)
        alone = Location.parse(OUT, StorageOptions(endpoint_url=server.url, sole_writer=True))
        with writing(alone), writing(alone):
            pass


def test_a_service_that_refuses_conditions_is_no_place_for_tables(aws_home: Path) -> None:
    with object_server(conditional="refused") as server:
        server.fill("orchard", "in/", 1)
        asked = Location.parse(OUT, StorageOptions(endpoint_url=server.url, retry_seconds=5))
        with pytest.raises(StorageError, match="refuses conditional puts"), writing(asked):
            pass


@pytest.mark.parametrize("conditional", ["honoured", "ignored"])
def test_tables_are_committed_with_and_without_conditions(aws_home: Path, conditional: str) -> None:
    import pyarrow as pa

    from pomona.storage.datafile import write_datafile
    from pomona.storage.table import Table

    rows = pa.table({"path": ["a", "b"]})
    with object_server(conditional=conditional) as server:
        server.fill("orchard", "in/", 1)
        options = StorageOptions(endpoint_url=server.url, sole_writer=conditional == "ignored")
        for _ in range(2):
            table = Table(Location.parse(f"{OUT}/things", options), rows.schema)
            table.create()
            table.commit([write_datafile(table.store, rows, "x")])
        assert table.rows() == 4
        assert table.version == 2
