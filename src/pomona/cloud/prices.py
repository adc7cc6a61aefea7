"""What AWS asks, from a dated file: by the hour, and for what is used besides."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pomona.cloud.account import asking, code_of
from pomona.errors import CloudError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MONTH_HOURS = 730.0
_PRICING_REGION = "eu-central-1"
"""Where AWS answers questions about prices in Europe."""


@dataclass(frozen=True)
class Prices:
    """The content of a price file.

    Attributes:
        facts: as ``prices.json`` has them; money in USD, without tax.
    """

    facts: dict[str, Any]

    @property
    def date(self) -> str:
        """When they held."""
        return str(self.facts["date"])

    @property
    def source(self) -> str:
        """Where they are from, in words."""
        return str(self.facts["source"])

    def euros(self, dollars: float) -> float:
        """Dollars in euros, at the file's rate."""
        return dollars / float(self.facts["euro"]["usd_for_one"])

    def cores(self, kind: str) -> int:
        """Cores (vCPU) of an instance type.

        Raises:
            UsageError: the file does not have it.
        """
        return int(self._type(kind)["cores"])

    def instance_hour(
        self, kind: str, region: str, *, spot: bool = False, load: float = 0
    ) -> float:
        """USD for an hour of an instance with its disk and its public address.

        Args:
            kind: instance type.
            region: where.
            spot: whether it is a spot instance.
            load: share of its cores that is busy; what a burstable type does above its baseline
                costs extra.

        Raises:
            UsageError: the file does not have the type, or not in this region.
        """
        found = self._type(kind)
        if region not in found["hour"]:
            raise UsageError(
                f"The prices of {self.date} have no {kind} in {region}.",
                "Give --refresh-prices, or a file of your own by --prices FILE.",
            )
        hour = float(found["hour"][region])
        if spot:
            hour *= float(self.facts["spot_share"]["value"])
        above = max(0.0, load - float(found.get("baseline", 1.0)))
        credit = float(self.facts["credits"].get(kind.partition(".")[0], 0.0))
        return hour + above * int(found["cores"]) * credit + float(self.facts["address_hour"])

    def disk_hour(self, region: str, gib: int) -> float:
        """USD for an hour of an instance's disk."""
        return float(_of(self.facts["disk_gib_month"], region)) * gib / _MONTH_HOURS

    def requests(self, region: str, *, gets: float, puts: float) -> float:
        """USD for requests to S3."""
        asked = self.facts["requests_1000"]
        return gets * _of(asked["get"], region) / 1_000 + puts * _of(asked["put"], region) / 1_000

    def _type(self, kind: str) -> dict[str, Any]:
        try:
            return dict(self.facts["types"][kind])
        except KeyError:
            raise UsageError(
                f"The prices of {self.date} do not have the type {kind}.",
                "Give --refresh-prices, or a file of your own by --prices FILE.",
            ) from None


def cluster_hour(
    prices: Prices,
    region: str,
    *,
    master: str,
    worker: str,
    workers: int,
    spot: bool,
    disk_gib: int = 20,
    load: float = 0.0,
) -> float:
    """USD for an hour of a cluster whose workers are busy to a share of ``load``.

    The master is not counted as busy: it does one thing at a time, for a small part of a run.
    """
    each = prices.instance_hour(worker, region, spot=spot, load=load)
    disks = prices.disk_hour(region, disk_gib) * (workers + 1)
    return prices.instance_hour(master, region) + workers * each + disks


def load_prices(path: Path | None = None) -> Prices:
    """The prices that ship with Pomona, or those of a file.

    Raises:
        UsageError: the file is none of prices.
    """
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path is not None
            else (files("pomona.cloud") / "prices.json").read_text(encoding="utf-8")
        )
        found = Prices(json.loads(text))
        _ = found.date, found.source, found.euros(1.0), found.facts["types"]
        cluster_hour(found, _any_region(found), **_any_shape(found))
        return found
    except (OSError, ValueError, KeyError, TypeError, StopIteration, ZeroDivisionError) as error:
        raise UsageError(
            f"{path} is no file of prices: {type(error).__name__}: {error}.",
            "It has to look like pomona/cloud/prices.json.",
        ) from error


def refreshed(prices: Prices, region: str, kinds: Iterable[str], today: str) -> Prices:
    """The same with the present prices of some types in a region, as AWS's pricing service says.

    Args:
        prices: what stays where AWS says nothing.
        region: where.
        kinds: instance types.
        today: for the date of the file.

    Raises:
        CloudError: no right to ask, or no answer for a type.
    """
    import boto3

    types = json.loads(json.dumps(prices.facts["types"]))
    with asking():
        client = boto3.client("pricing", region_name=_PRICING_REGION)
        for kind in kinds:
            wanted = {
                "instanceType": kind,
                "regionCode": region,
                "operatingSystem": "Linux",
                "tenancy": "Shared",
                "preInstalledSw": "NA",
                "capacitystatus": "Used",
            }
            try:
                answer = client.get_products(
                    ServiceCode="AmazonEC2",
                    Filters=[
                        {"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()
                    ],
                )
            except Exception as error:
                if code_of(error) in ("AccessDeniedException", "AccessDenied"):
                    raise CloudError(
                        "There is no right to ask AWS for prices (pricing:GetProducts).",
                        f"Leave --refresh-prices out: the file of {prices.date} then holds.",
                    ) from error
                raise
            hour, cores, gib = _product(kind, region, answer["PriceList"])
            entry = types.setdefault(kind, {"cores": cores, "gib": gib, "hour": {}})
            entry["hour"][region] = hour
    source = f"On-demand prices of {region} from AWS's pricing service; the rest: {prices.source}"
    return replace(prices, facts=prices.facts | {"types": types, "date": today, "source": source})


def _product(kind: str, region: str, listed: list[str]) -> tuple[float, int, float]:
    """USD an hour, cores and memory of a type, from the products that were found."""
    for text in listed:
        found = json.loads(text)
        about = found["product"]["attributes"]
        for term in found["terms"].get("OnDemand", {}).values():
            for dimension in term["priceDimensions"].values():
                hour = float(dimension["pricePerUnit"].get("USD", 0))
                if dimension["unit"] == "Hrs" and hour > 0:
                    gib = float(about["memory"].split()[0].replace(",", ""))
                    return hour, int(about["vcpu"]), gib
    raise CloudError(f"AWS names no price of {kind} in {region}.", "Take another type or region.")


def _of(values: dict[str, float], region: str) -> float:
    """What holds in a region; the dearest of the others where the file does not know it."""
    return float(values.get(region, max(values.values())))


def _any_region(prices: Prices) -> str:
    return str(next(iter(next(iter(prices.facts["types"].values()))["hour"])))


def _any_shape(prices: Prices) -> dict[str, Any]:
    kind = next(iter(prices.facts["types"]))
    return {"master": kind, "worker": kind, "workers": 1, "spot": True, "load": 1.0}
