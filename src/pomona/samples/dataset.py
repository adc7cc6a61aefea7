"""A folder of sample images in the shape of Fruits-360: ``Training/<class>/<object>_<frame>``."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pomona.errors import UsageError
from pomona.samples.cloud import condense
from pomona.samples.folder import open_folder, write_file
from pomona.samples.kinds import KINDS
from pomona.samples.render import draw
from pomona.samples.stage import SIDE, set_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_QUALITY = 92
_ZOOM_LYING = 1.35
# Below this, starting processes takes longer than they save.
_WORTH_A_PROCESS = 250


@dataclass(frozen=True)
class SampleSummary:
    """What ``write_samples`` wrote.

    Attributes:
        images: number of files.
        classes: number of classes with at least one image.
        training: images under ``Training``.
        test: images under ``Test``.
        seconds: wall time.
    """

    images: int
    classes: int
    training: int
    test: int
    seconds: float


@dataclass(frozen=True)
class Turntable:
    """One fruit and the frames to take of it: the unit of work.

    Attributes:
        split: ``Training`` or ``Test``.
        kind: index into ``KINDS``.
        number: of the fruit within its class, over both splits.
        upright: frames about the stem.
        lying: frames about an axis across the stem.
    """

    split: str
    kind: int
    number: int
    upright: int
    lying: int


def write_samples(
    directory: Path,
    *,
    count: int = 1200,
    seed: int = 0,
    processes: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> SampleSummary:
    """Draw ``count`` pictures of fruit, 100 x 100 JPEG on white, into ``directory``.

    The images are spread evenly over the classes. About a quarter of them goes to ``Test``,
    and these show other fruits than those of ``Training``. A file is called
    ``<object>_<frame>_100.jpg`` where the fruit revolves about its stem and
    ``<object>_r_<frame>_100.jpg`` where it lies on its side.

    The same ``count`` and ``seed`` give the same bytes, whatever the number of processes, on
    one kind of machine with one version of NumPy and Pillow.

    Args:
        directory: a folder that is empty or does not exist.
        count: number of images, at least 1.
        seed: at least 0; another seed gives other fruits.
        processes: how many to use; all cores by default when there is enough to do. More than
            one starts Python anew, so a script that calls this needs its
            ``if __name__ == "__main__"``.
        on_progress: called with the number of images written so far.

    Raises:
        UsageError: a number out of range, or ``directory`` is a file or not empty.
        StorageError: ``directory`` cannot be written to.
    """
    _check(count=count, seed=seed, processes=processes)
    started = time.perf_counter()
    open_folder(directory)
    plan = list(plan_samples(count))
    workers = _cores() if processes is None else processes
    if processes is None:
        workers = min(workers, 1 + count // _WORTH_A_PROCESS)
    done = 0
    for written in _photograph_all(directory, plan, seed, min(workers, len(plan))):
        done += written
        if on_progress:
            on_progress(done)
    training = sum(t.upright + t.lying for t in plan if t.split == "Training")
    return SampleSummary(
        images=done,
        classes=len({t.kind for t in plan}),
        training=training,
        test=done - training,
        seconds=time.perf_counter() - started,
    )


def plan_samples(count: int) -> Iterator[Turntable]:
    """Which fruits to grow and how many frames to take of each, ``count`` frames in all."""
    for kind in range(len(KINDS)):
        images = (kind + 1) * count // len(KINDS) - kind * count // len(KINDS)
        test = (images + 1) // 4
        training = images - test
        # The root lets both grow: more fruits, and finer turns of each.
        fruits = max(1, round((training / 4) ** 0.5))
        yield from _share("Training", kind, 0, fruits, training)
        yield from _share("Test", kind, fruits, max(1, fruits // 3), test)


def _share(split: str, kind: int, first: int, fruits: int, images: int) -> Iterator[Turntable]:
    for i in range(fruits):
        frames = (i + 1) * images // fruits - i * images // fruits
        lying = frames // 3 if KINDS[kind].lies else 0
        if frames:
            yield Turntable(split, kind, first + i, frames - lying, lying)


def _photograph_all(
    directory: Path, plan: list[Turntable], seed: int, workers: int
) -> Iterator[int]:
    """Numbers of images written, as the fruits are finished."""
    if workers == 1:
        for turntable in plan:
            yield photograph(directory, turntable, seed)
        return
    # Not forked: the caller may have threads, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_leave_interrupts) as pool:
        jobs = [pool.submit(photograph, directory, turntable, seed) for turntable in plan]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def photograph(directory: Path, turntable: Turntable, seed: int) -> int:
    """Grow one fruit, write all its frames and return their number."""
    kind = KINDS[turntable.kind]
    # The name and not the index, so that a new kind leaves the fruits of the others as they are.
    rng = np.random.default_rng([seed, zlib.crc32(kind.name.encode()), turntable.number])
    fruit = kind.grow(rng)
    start = float(rng.uniform(0, 360))
    upright = set_stage(fruit, kind.pitch)
    lying = set_stage(fruit, kind.pitch / 2, lying=True, zoom=_ZOOM_LYING)
    cloud = condense(fruit, max(upright.scale, lying.scale if turntable.lying else 0))
    folder = directory / turntable.split / kind.name
    sets = (("", upright, turntable.upright), ("r_", lying, turntable.lying))
    for mark, stage, frames in sets:
        for frame in range(frames):
            picture = Image.fromarray(draw(cloud, stage, start + 360 * frame / frames))
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=_QUALITY)
            name = f"{turntable.number:03d}_{mark}{frame:04d}_{SIDE}.jpg"
            write_file(folder / name, buffer.getvalue())
    return turntable.upright + turntable.lying


def _check(*, count: int, seed: int, processes: int | None) -> None:
    for name, value, least in (
        ("count", count, 1),
        ("seed", seed, 0),
        ("processes", 1 if processes is None else processes, 1),
    ):
        if value < least:
            raise UsageError(
                f"{name} is {value}, which is less than {least}.", f"Give {least} or more."
            )


def _cores() -> int:
    """Cores this process may use, which in a container is less than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _leave_interrupts() -> None:
    # Ctrl-C reaches the whole process group; the parent ends the workers between two fruits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
