"""Time and money for INPUT on a cluster, from a calibration and a price file.

The model has four parts: what every run does once (Spark starts, the network is chosen), listing,
embedding (core-seconds an image over cores), and what the driver does afterwards (reducing,
training, evaluating), which grows with the images. The first and the last are known from a measured
run, in units of the machine's own speed: the time that the built-in network takes for an image.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from pomona.cloud.prices import cluster_hour

if TYPE_CHECKING:
    from pomona.cloud.calibration import Calibration
    from pomona.cloud.prices import Prices

SAMPLE = 200
"""Images that are embedded to measure with."""
BUSY = 0.92
"""Share of the cores' time that a run keeps them busy; the rest is starting and waiting."""
ONCE_UNITS = 2_600.0
"""Units for starting and stopping, besides choosing."""
REDUCE_UNITS, RECOGNISE_UNITS = 0.19, 0.50
"""Units an image, on the driver, for reducing; and for training and evaluating."""
BOOT_SECONDS = 240.0
"""From `up` to registered workers, an assumption: the environment is fetched and unpacked."""

ASSUMPTIONS = (
    "A core (vCPU) of an instance is taken to be as fast as a core of this machine, in fp32.",
    "Workers read INPUT from S3 no slower than this machine read it here.",
    f"Cores are busy {BUSY:.0%} of the time; instances start in {BOOT_SECONDS / 60:.0f} minutes.",
    "Reducing, training and evaluating take what a measured run took, at this machine's speed.",
    "Not counted: tax, storage by the month, log volume, data that leaves AWS.",
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """Some workers of a type.

    Attributes:
        worker: instance type.
        master: likewise.
        workers: how many.
        spot: whether workers are spot instances.
    """

    worker: str
    master: str
    workers: int
    spot: bool = False

    def __str__(self) -> str:
        return f"{self.workers} x {self.worker}{' spot' if self.spot else ''}"


@dataclass(frozen=True)
class Quote:
    """A prediction.

    Attributes:
        images: to be embedded.
        seconds: of the whole run.
        parts: the same, by part.
        dollars: for the run; the time that instances take to start is counted.
        dollars_an_hour: of the cluster, busy.
        euros: for the run.
        euros_an_hour: of the cluster, busy.
    """

    images: int
    seconds: float
    parts: dict[str, float]
    dollars: float = 0.0
    dollars_an_hour: float = 0.0
    euros: float = 0.0
    euros_an_hour: float = 0.0

    @property
    def euros_per_1000(self) -> float:
        """EUR for 1,000 images."""
        return self.euros / max(self.images, 1) * 1_000

    def facts(self) -> dict[str, object]:
        """Everything as plain values."""
        return asdict(self) | {"euros_per_1000": self.euros_per_1000}

    def setting(self) -> str:
        """As the setting ``quote`` takes it, so that the ledger can compare."""
        return json.dumps(
            {
                "images": self.images,
                "seconds": round(self.seconds, 1),
                "eur_an_hour": round(self.euros_an_hour, 6),
            },
            separators=(",", ":"),
        )


def predict(found: Calibration, cores: int, *, here: bool) -> Quote:
    """How long a run takes on so many cores, whatever they cost.

    Args:
        found: the calibration.
        cores: that embed.
        here: whether they are of this machine, with its precision.
    """
    each = found.core_seconds if here else found.core_seconds_fp32
    after = REDUCE_UNITS + (RECOGNISE_UNITS if found.labels else 0.0)
    parts = {
        "once": found.choose_seconds + ONCE_UNITS * found.unit,
        "list": found.list_seconds,
        "embed": found.images * each / (cores * BUSY),
        "after": found.images * after * found.unit,
    }
    return Quote(found.images, sum(parts.values()), parts)


def quote(found: Calibration, shape: Shape, prices: Prices, region: str) -> Quote:
    """Time and money on a cluster.

    Raises:
        UsageError: the prices do not have it.
    """
    made = predict(found, prices.cores(shape.worker) * shape.workers, here=False)
    hour = cluster_hour(
        prices, region, master=shape.master, worker=shape.worker, workers=shape.workers,
        spot=shape.spot, load=made.parts["embed"] / made.seconds,
    )  # fmt: skip
    requests = prices.requests(region, gets=found.images * 1.0, puts=found.images / 500 + 100)
    dollars = hour * (made.seconds + BOOT_SECONDS) / 3_600 + requests
    return Quote(
        made.images,
        made.seconds,
        made.parts,
        dollars,
        hour,
        prices.euros(dollars),
        prices.euros(hour),
    )


def shapes(machine: str, master: str) -> list[Shape]:
    """A few clusters to choose from."""
    burst, fixed = ("t4g", "c6g") if machine == "arm64" else ("t3", "c6i")
    return [
        Shape(f"{burst}.medium", master, 2),
        Shape(f"{burst}.medium", master, 8),
        Shape(f"{fixed}.large", master, 2),
        Shape(f"{fixed}.xlarge", master, 4),
        Shape(f"{fixed}.xlarge", master, 4, spot=True),
        Shape(f"{fixed}.4xlarge", master, 8, spot=True),
    ]
