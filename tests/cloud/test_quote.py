from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from pomona.cloud.account import REGION
from pomona.cloud.calibration import Calibration
from pomona.cloud.prices import cluster_hour, load_prices, refreshed
from pomona.cloud.quote import BOOT_SECONDS, BUSY, Shape, predict, quote, shapes
from pomona.errors import CloudError, UsageError
from pomona.ledger import Ledger
from tests.command import facts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOUND = Calibration(
    images=100_000, bytes=500_000_000, labels=True, list_seconds=10, choose_seconds=2,
    core_seconds=0.001, core_seconds_fp32=0.004, unit=0.0005, cores=2, precision="bf16",
)  # fmt: skip


def test_time_is_cores_and_what_they_do() -> None:
    here = predict(FOUND, 2, here=True)
    assert here.parts["embed"] == pytest.approx(100_000 * 0.001 / (2 * BUSY))
    there = predict(FOUND, 8, here=False)
    assert there.parts["embed"] == pytest.approx(100_000 * 0.004 / (8 * BUSY))
    assert there.parts["after"] == here.parts["after"] > 0
    assert predict(FOUND, 8, here=True).seconds < here.seconds


def test_money_by_hand() -> None:
    prices = load_prices()
    # A t3.medium with every core busy: 0.0456, and 1.6 cores above the baseline at 0.05 each.
    assert prices.instance_hour("t3.medium", REGION, load=1.0) == pytest.approx(
        0.0456 + 1.6 * 0.05 + 0.005
    )
    assert prices.instance_hour("t3.medium", REGION, load=0.2) == pytest.approx(0.0506)
    assert prices.instance_hour("c6i.large", REGION, load=1.0) == pytest.approx(0.0962)
    spot = prices.instance_hour("c6i.large", REGION, spot=True)
    assert spot == pytest.approx(0.0912 * 0.4 + 0.005)
    assert prices.euros(1.172) == pytest.approx(1)
    made = quote(FOUND, Shape("c6i.large", "t3.medium", 3), prices, REGION)
    hour = cluster_hour(
        prices, REGION, master="t3.medium", worker="c6i.large", workers=3, spot=False
    )
    assert made.dollars_an_hour == pytest.approx(hour)
    running = hour * (made.seconds + BOOT_SECONDS) / 3_600
    assert made.dollars == pytest.approx(running + 0.1 * 0.4 + 300 / 1_000 * 0.005)
    assert made.euros_per_1000 == pytest.approx(made.euros / 100)


def test_burstable_types_are_dear_at_full_load() -> None:
    prices = load_prices()
    burst, fixed = (
        prices.instance_hour(kind, REGION, load=1.0) for kind in ("t3.medium", "c6i.large")
    )
    assert burst > fixed


@pytest.mark.parametrize("machine", ["x86_64", "arm64"])
@pytest.mark.parametrize("region", ["eu-west-1", "eu-central-1"])
def test_the_shapes_have_prices(machine: str, region: str) -> None:
    for shape in shapes(machine, "t4g.medium" if machine == "arm64" else "t3.medium"):
        assert quote(FOUND, shape, load_prices(), region).euros > 0


def test_prices_of_ones_own(tmp_path: Path) -> None:
    mine = json.loads(json.dumps(load_prices().facts))
    mine["types"]["t3.medium"]["hour"][REGION] = 1.0
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(mine))
    assert load_prices(path).instance_hour("t3.medium", REGION) == pytest.approx(1.005)
    with pytest.raises(UsageError, match="do not have the type"):
        load_prices().cores("z9.metal")
    with pytest.raises(UsageError, match=r"no t3\.medium in us-east-1"):
        load_prices().instance_hour("t3.medium", "us-east-1")
    path.write_text("{}")
    with pytest.raises(UsageError, match="no file of prices"):
        load_prices(path)


class _Pricing(BaseHTTPRequestHandler):
    """Answers as AWS's pricing service does."""

    refuse = False

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = next(f["Value"] for f in asked["Filters"] if f["Field"] == "instanceType")
        free = {"unit": "Hrs", "pricePerUnit": {"USD": "0.0000000000"}}
        paid = {"unit": "Hrs", "pricePerUnit": {"USD": "0.0999000000"}}
        product = {
            "product": {"attributes": {"instanceType": kind, "vcpu": "2", "memory": "4 GiB"}},
            "terms": {"OnDemand": {"A": {"priceDimensions": {"1": free, "2": paid}}}},
        }
        body: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product)]}
        if self.refuse:
            body = {"__type": "AccessDeniedException", "Message": "not authorized"}
        if kind == "t1.unknown":
            body["PriceList"] = []
        text = json.dumps(body).encode()
        self.send_response(400 if self.refuse else 200)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def pricing(aws_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Pricing]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pricing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_PRICING", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(_Pricing, "refuse", False)
    yield _Pricing
    server.shutdown()
    thread.join()
    server.server_close()


def test_prices_of_today(pricing: type[_Pricing], monkeypatch: pytest.MonkeyPatch) -> None:
    known = refreshed(load_prices(), REGION, ["t3.medium", "c9x.large"], "2026-11-24")
    assert known.date == "2026-11-24"
    assert known.instance_hour("t3.medium", REGION) == pytest.approx(0.1049)
    assert known.cores("c9x.large") == 2
    assert "pricing service" in known.source
    with pytest.raises(CloudError, match=r"no price of t1\.unknown"):
        refreshed(load_prices(), REGION, ["t1.unknown"], "2026-11-24")
    monkeypatch.setattr(pricing, "refuse", True)
    with pytest.raises(CloudError, match="pricing:GetProducts"):
        refreshed(load_prices(), REGION, ["t3.medium"], "2026-11-24")


def test_the_ledger_compares() -> None:
    ledger = Ledger("run", "in", "out", ["embed"], embedded=900, rejected=100)
    ledger.seconds["total"] = 90.0
    ledger.compare(1_000, 100.0, 4.0)
    assert ledger.quote["actual_to_quoted"] == 0.9
    assert ledger.quote["actual_eur"] == pytest.approx(0.1)
    assert ledger.quote["eur_per_1000_images"] == pytest.approx(0.1)
    ledger.compare(2_000, 100.0, 4.0)
    assert ledger.quote["actual_to_quoted"] is None


def test_a_quote_and_the_run_that_it_was_for(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = facts("cloud", "quote", photographs, "--precision", "fp32")
    assert found["calibration"]["labels"] is True
    assert all(shape["quote"]["euros"] > 0 for shape in found["shapes"])
    told = found["here"]["setting"]
    monkeypatch.setenv("POMONA_QUOTE", told)
    ran = facts("embed", photographs, tmp_path / "out", "--precision", "fp32")
    compared = ran["quote"]
    assert compared["actual_images"] == compared["images"] == ran["listed"] > 0
    assert compared["seconds"] == json.loads(told)["seconds"]
    assert compared["actual_to_quoted"] > 0
