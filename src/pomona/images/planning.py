"""How a manifest is cut into tasks, and tasks into chunks.

A task is the work of one Spark task, a chunk is one Spark job and one commit. Cutting is by bytes
and by count, whichever is reached first, so that 20,000 small files make tens of tasks and a few
huge ones do not land in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pomona.schema import SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_TASK_SECONDS = 3.0
_FEWEST, _MOST = 32, 1_024
"""Images of a task: below, starting it costs more than its work; above, memory grows."""
_QUICK = 1_000.0
_TAIL_SHARE = 8
"""The last tasks shrink to this part of the first ones."""
_ROOMY = 1 << 30
"""Free bytes of a slot at which tasks need not be smaller."""


@dataclass(frozen=True)
class PlanLimits:
    """How large a task and a chunk may grow.

    Attributes:
        task_images: images of a task, at most.
        task_bytes: bytes of a task, at most (a single larger image is a task of its own).
        chunk_tasks: tasks of a chunk, at most.
        images: to be cut in all; 0 where that is not known.
        slots: tasks that run at the same time.
    """

    task_images: int
    task_bytes: int
    chunk_tasks: int
    images: int = 0
    slots: int = 1

    @classmethod
    def for_slots(
        cls,
        slots: int,
        images: int,
        *,
        rate: float = _QUICK,
        task_images: int = 0,
        task_bytes: int = 0,
        memory: int = 0,
    ) -> PlanLimits:
        """What suits a number of task slots and of images.

        A task takes about three seconds of a core, so that progress can be seen and little is
        done again after a crash; fewer images are cut finer, so that every slot has several
        tasks. A chunk keeps every slot busy for four tasks. The last tasks are smaller, so that
        all slots come to their end together.

        Args:
            slots: tasks that run at the same time.
            images: to be embedded.
            rate: images a second that the network does on one core.
            task_images: of a task; 0 chooses.
            task_bytes: of a task; 0 chooses.
            memory: free bytes for each slot; 0 where it is not known. Little makes small tasks.
        """
        share = min(1.0, memory / _ROOMY) if memory else 1.0
        most = np.clip(_TASK_SECONDS * rate, _FEWEST, max(_FEWEST, _MOST * share))
        images_of_task = task_images or int(np.clip(-(-images // (slots * 4)), _FEWEST, most))
        bytes_of_task = task_bytes or max(1 << 20, int((64 << 20) * share))
        total = 0 if task_images else images
        return cls(images_of_task, bytes_of_task, max(4, 4 * slots), total, slots)

    def images_of_task(self, done: int) -> int:
        """Images of the next task, at most, once ``done`` are cut.

        Half of a slot's share of what is left: guided self-scheduling (Polychronopoulos and Kuck,
        1987), between the size of the first tasks and an eighth of it, but no task so small that
        starting it costs more than its work.
        """
        if not self.images:
            return self.task_images
        share = -(-(self.images - done) // (2 * self.slots))
        return min(self.task_images, max(_FEWEST, self.task_images // _TAIL_SHARE, share))


def cut_tasks(batches: Iterable[pa.RecordBatch], limits: PlanLimits) -> Iterator[pa.RecordBatch]:
    """Cut a stream of manifest rows into tasks, in order and lazily.

    Args:
        batches: with a ``size`` column in bytes; -1 counts as nothing.
        limits: how large a task may grow.

    Yields:
        The rows of one task; never none.
    """
    pending: list[pa.RecordBatch] = []
    images = used = done = 0
    most = limits.images_of_task(0)
    for batch in batches:
        sizes = np.maximum(batch.column(SIZE).to_numpy(zero_copy_only=False), 0)
        ends = np.cumsum(sizes)
        begin = 0
        while begin < batch.num_rows:
            before = int(ends[begin - 1]) if begin else 0
            by_bytes = int(np.searchsorted(ends, limits.task_bytes - used + before, side="right"))
            end = min(by_bytes, begin + most - images, batch.num_rows)
            if end == begin and not images:
                end = begin + 1
            if end > begin:
                pending.append(batch.slice(begin, end - begin))
                images += end - begin
                used += int(ends[end - 1]) - before
            if end < batch.num_rows or images == most:
                yield _joined(pending)
                done += images
                pending, images, used = [], 0, 0
                most = limits.images_of_task(done)
            begin = end
    if pending:
        yield _joined(pending)


def group_chunks(
    tasks: Iterable[pa.RecordBatch], limits: PlanLimits
) -> Iterator[list[pa.RecordBatch]]:
    """Gather tasks into chunks, in order and lazily."""
    chunk: list[pa.RecordBatch] = []
    for task in tasks:
        chunk.append(task)
        if len(chunk) == limits.chunk_tasks:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _joined(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)
