"""A model of the chain on more cores and more images than one machine has.

Pure arithmetic and a small simulation of the driver's loop: tasks are handed to slots one after the
other, a chunk is committed when its last task is done, and no chunk is begun before the one two
ahead of it is committed. Tasks and chunks are cut by the chain's own rules. What a task and
a commit cost was recorded (``recorded.json``, made by ``record.py``); what S3 allows is published.

Left out: failures, the network between machines, throttling that lasts, other tenants.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field, replace
from typing import Literal

from pomona.images.planning import PlanLimits

READS_PER_PREFIX = 5_500.0
"""GET requests a second that S3 serves for each prefix of a bucket, as its guide on performance has
it ("at least 3,500 PUT or 5,500 GET requests per second per partitioned prefix")."""
WRITES_PER_PREFIX = 3_500.0
KEYS_PER_LISTING = 1_000
"""Keys that one LIST request answers at most."""

_SIMULATED = 20_000
"""Tasks that are simulated one by one; of more, the rest goes on at the pace of the second half."""

Layout = Literal["objects", "tars"]
Stage = Literal["list", "plan", "start", "reads", "tasks", "launches", "commits"]


@dataclass(frozen=True)
class Costs:
    """What things cost, in seconds unless said otherwise.

    Attributes:
        image: of one core, for an image: read, decode, embed, write.
        task: of one core, for a task, beside its images.
        launch: of the driver, for a task: serialise, schedule, collect.
        commit: of the driver, for a commit.
        commit_file: of the driver, for a file that a commit adds.
        commit_known: of the driver and commit, for a file that the table has already.
        plan: of the driver, for a key.
        start: until the workers are up.
        spread: standard deviation of a task's time, as a share of it.
        request: of one LIST request, from the driver's region.
        tar_bytes: a second that the driver reads of tars to index them.
        image_bytes: of an image.
        joined: images that one request for a piece of a tar brings.
    """

    image: float
    task: float
    launch: float
    commit: float
    commit_file: float
    commit_known: float
    plan: float
    start: float
    spread: float = 0.05
    request: float = 0.08
    tar_bytes: float = 100e6
    image_bytes: float = 5_500.0
    joined: float = 150.0


@dataclass(frozen=True)
class Setup:
    """A data set and the cores that work on it.

    Attributes:
        cores: worker cores, one task each.
        images: to embed.
        layout: each image an object, or packed in tars; ``local`` storage has no limits.
        prefixes: parts of the bucket that S3 serves independently.
        listers: LIST requests, or indexers of tars, at a time; the chain has one.
        local: images lie on the workers' disks: nothing is listed by request.
    """

    cores: int
    images: int
    layout: Layout = "objects"
    prefixes: int = 1
    listers: int = 1
    local: bool = False


@dataclass(frozen=True)
class Forecast:
    """What the model says of a setup.

    Attributes:
        seconds: the whole embedding, from the command to the last commit.
        parts: what it is made of: listing and planning, start, and the work on tasks.
        bound: what holds it up most.
        efficiency: core-seconds of work on images, as a share of all that the cores were there.
    """

    seconds: float
    parts: dict[str, float] = field(compare=False)
    bound: Stage
    efficiency: float

    @property
    def rate(self) -> float:
        """Images a second, over everything."""
        return self.parts["images"] / self.seconds


def forecast(setup: Setup, costs: Costs, *, seed: int = 0) -> Forecast:
    """How long an embedding takes, and why.

    Args:
        setup: what on what.
        costs: as recorded.
        seed: of the spread of task times.
    """
    listing = listing_seconds(setup, costs)
    planning = setup.images * costs.plan
    work, waits = work_seconds(setup, costs, seed=seed)
    # Spark starts while the driver lists.
    before = max(listing + planning, costs.start)
    seconds = before + work
    ideal = setup.images * costs.image / setup.cores
    held: dict[Stage, float] = {
        "list": listing,
        "plan": planning,
        "start": max(0.0, costs.start - listing - planning),
        "tasks": ideal,
    }
    held |= waits
    bound = max(held, key=lambda stage: held[stage])
    parts: dict[str, float] = {"images": float(setup.images), "before": before, "work": work}
    parts |= {str(stage): value for stage, value in held.items()}
    return Forecast(seconds, parts, bound, ideal / seconds)


def listing_seconds(setup: Setup, costs: Costs) -> float:
    """Until every image is known to the driver."""
    if setup.local:
        return 0.0
    if setup.layout == "objects":
        requests = -(-setup.images // KEYS_PER_LISTING)
        return requests * costs.request / setup.listers
    # Headers stand between the images, so that small images are read whole to find them.
    return setup.images * costs.image_bytes / costs.tar_bytes / setup.listers


def read_rate(setup: Setup, costs: Costs) -> float:
    """Images a second that the storage gives at most."""
    if setup.local:
        return float("inf")
    joined = costs.joined if setup.layout == "tars" else 1.0
    return READS_PER_PREFIX * setup.prefixes * joined


def task_seconds(images: int, setup: Setup, costs: Costs) -> float:
    """Of one task, with all slots at work: its own arithmetic, or its share of what S3 gives."""
    own = costs.task + images * costs.image
    return max(own, images * setup.cores / read_rate(setup, costs))


def work_seconds(setup: Setup, costs: Costs, *, seed: int = 0) -> tuple[float, dict[Stage, float]]:
    """From the first task to the last commit, and what slots waited for, in seconds of the clock.

    Returns:
        The time; and how much of it the slots waited for reads, for the driver to hand out tasks,
        and for commits.
    """
    limits = PlanLimits.for_slots(setup.cores, setup.images, rate=1 / costs.image)
    most = _SIMULATED * limits.task_images
    if setup.images <= most:
        return _simulated(setup, costs, limits, seed, known=0)
    known = setup.images // limits.task_images // 2  # files of the table, on average
    half, whole = (
        _simulated(replace(setup, images=n), costs, replace(limits, images=n), seed, known=known)
        for n in (most // 2, most)
    )
    further = (setup.images - most) / (most - most // 2)
    seconds = whole[0] + further * (whole[0] - half[0])
    waits = {stage: wait + further * (wait - half[1][stage]) for stage, wait in whole[1].items()}
    return seconds, waits


def _simulated(
    setup: Setup, costs: Costs, limits: PlanLimits, seed: int, *, known: int
) -> tuple[float, dict[Stage, float]]:
    """Task by task; the table has ``known`` files before."""
    chance = random.Random(seed)
    slots = [0.0] * setup.cores
    driver = 0.0
    committed: list[float] = []
    launches = commits = reads = 0.0
    done = 0
    while done < setup.images:
        chunk: list[float] = []
        # A chunk is begun when the one two ahead of it is committed.
        ready = committed[-2] if len(committed) > 1 else 0.0
        while len(chunk) < limits.chunk_tasks and done < setup.images:
            images = min(limits.images_of_task(done), setup.images - done)
            done += images
            free = heapq.heappop(slots)
            driver = max(driver, ready) + costs.launch
            begin = max(free, driver)
            commits += max(0.0, min(ready, begin) - free)
            launches += max(0.0, begin - max(free, ready))
            takes = task_seconds(images, setup, costs)
            reads += takes - costs.task - images * costs.image
            takes *= max(0.2, chance.gauss(1.0, costs.spread))
            heapq.heappush(slots, begin + takes)
            chunk.append(begin + takes)
        took = costs.commit + len(chunk) * costs.commit_file + known * costs.commit_known
        known += len(chunk)
        committed.append(max([*chunk, *committed[-1:]]) + took)
    waits: dict[Stage, float] = {
        "reads": reads / setup.cores,
        "launches": launches / setup.cores,
        "commits": commits / setup.cores,
    }
    return committed[-1] if committed else 0.0, waits


def largest_useful(
    images: int, costs: Costs, *, least: float = 0.5, layout: Layout = "objects", prefixes: int = 1,
    listers: int = 1, most: int = 512,
) -> int:  # fmt: skip
    """The most cores, of 1, 2, 4 ... ``most``, that are busy with images for a share of ``least``.

    0 where not even one is.
    """
    found, cores = 0, 1
    while cores <= most:
        setup = Setup(cores, images, layout, prefixes, listers)
        if forecast(setup, costs).efficiency >= least:
            found = cores
        cores *= 2
    return found
