from __future__ import annotations

import pickle
import random
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa
import pytest

from pomona.images.planning import PlanLimits, cut_tasks, group_chunks
from pomona.schema import MANIFEST


def _rows(sizes: list[int], first: int = 0) -> pa.RecordBatch:
    rows = [{"path": str(first + i), "etag": "", "size": size} for i, size in enumerate(sizes)]
    return pa.RecordBatch.from_pylist(rows, schema=MANIFEST)


def _cut(*batches: list[int], images: int = 4, size: int = 100) -> list[list[int]]:
    """Sizes of each task."""
    limits = PlanLimits(task_images=images, task_bytes=size, chunk_tasks=8)
    tasks = cut_tasks([_rows(batch) for batch in batches], limits)
    return [task.column("size").to_pylist() for task in tasks]


def test_small_files_make_tens_of_tasks_and_keep_their_order() -> None:
    limits = PlanLimits.for_slots(2, 20_000)
    tasks = list(cut_tasks([_rows([5_000] * 12_000), _rows([5_000] * 8_000, 12_000)], limits))
    assert 10 <= len(tasks) <= 99
    assert max(task.num_rows for task in tasks) <= limits.task_images
    paths = [path for task in tasks for path in task.column("path").to_pylist()]
    assert paths == [str(i) for i in range(20_000)]


@pytest.mark.parametrize(
    ("batches", "tasks"),
    [
        ([[90, 90, 500, 10, 10]], [[90], [90], [500], [10, 10]]),
        ([[]], []),
        ([], []),
        ([[1]], [[1]]),
        ([[100, 100]], [[100], [100]]),
        ([[50, 50, 50, 50]], [[50, 50], [50, 50]]),
        ([[50, 50, 0, 0, 50]], [[50, 50, 0, 0], [50]]),
        ([[0] * 9], [[0] * 4, [0] * 4, [0]]),
        ([[-1] * 5], [[-1] * 4, [-1]]),
        ([[-1, 101, -1]], [[-1], [101], [-1]]),
        ([[99], [1], [1]], [[99, 1], [1]]),
        ([[500], [500]], [[500], [500]]),
        ([[1, 1], [1, 1], [1]], [[1, 1, 1, 1], [1]]),
        ([[1, 1, 1, 1], [1]], [[1, 1, 1, 1], [1]]),
        ([[], [1], [], [1]], [[1, 1]]),
        ([[1 << 62, 1 << 61]], [[1 << 62], [1 << 61]]),
    ],
)
def test_cuts(batches: list[list[int]], tasks: list[list[int]]) -> None:
    assert _cut(*batches) == tasks


def test_any_listing_is_cut_within_the_limits_and_without_loss() -> None:
    chance = random.Random(0)
    for _ in range(200):
        batches = [
            [chance.choice([-1, 0, 1, 30, 99, 100, 101, 5_000]) for _ in range(chance.randrange(9))]
            for _ in range(chance.randrange(6))
        ]
        tasks = _cut(*batches)
        assert [*chain(*tasks)] == [*chain(*batches)]
        for task in tasks:
            assert 1 <= len(task) <= 4
            assert len(task) == 1 or sum(max(size, 0) for size in task) <= 100
        # None of them could have been joined with the next.
        for one, other in pairwise(tasks):
            used = sum(max(size, 0) for size in one)
            assert len(one) == 4 or used + max(other[0], 0) > 100


def test_cutting_is_lazy() -> None:
    taken = []

    def listing() -> object:
        for number in range(1_000_000):
            taken.append(number)
            yield _rows([10] * 100)

    limits = PlanLimits(task_images=50, task_bytes=1 << 20, chunk_tasks=4)
    chunks = group_chunks(cut_tasks(listing(), limits), limits)  # type: ignore[arg-type]
    assert [task.num_rows for task in next(chunks)] == [50] * 4
    assert len(taken) <= 3


def test_chunks_hold_whole_tasks_and_the_rest() -> None:
    limits = PlanLimits(task_images=1, task_bytes=100, chunk_tasks=3)
    tasks = [_rows([1]) for _ in range(7)]
    assert [len(chunk) for chunk in group_chunks(tasks, limits)] == [3, 3, 1]
    assert list(group_chunks([], limits)) == []


@pytest.mark.parametrize("slots", [1, 2, 64, 5_000])
@pytest.mark.parametrize("images", [0, 1, 100, 67_692, 10_000_000, 1 << 40])
def test_limits_suit_any_number_of_slots_and_images(slots: int, images: int) -> None:
    limits = PlanLimits.for_slots(slots, images)
    assert 32 <= limits.task_images <= 1_024
    assert limits.chunk_tasks >= 4 * slots
    if images >= 128 * slots:
        assert images / limits.task_images >= 3 * slots  # every slot has work several times
    assert pickle.loads(pickle.dumps(limits)) == limits


def test_limits_that_are_given_are_kept() -> None:
    limits = PlanLimits.for_slots(2, 1_000, task_images=7, task_bytes=9)
    assert (limits.task_images, limits.task_bytes) == (7, 9)


def test_a_task_cut_from_a_large_batch_takes_its_own_rows_only() -> None:
    large = _rows(list(np.full(10_000, 5)))
    task = next(cut_tasks([large], PlanLimits(10, 1 << 20, 4)))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, task.schema) as writer:
        writer.write_batch(task)
    assert sink.getvalue().size < 5_000


def test_a_slow_network_gets_short_tasks() -> None:
    assert PlanLimits.for_slots(2, 20_000, rate=40).task_images == 120
    assert PlanLimits.for_slots(2, 20_000, rate=1).task_images == 32
    assert PlanLimits.for_slots(2, 20_000, rate=3_000).task_images == 1_024


@pytest.mark.parametrize(("slots", "images"), [(1, 5_000), (2, 15_506), (2, 67_692), (64, 500_000)])
def test_all_slots_come_to_their_end_together(slots: int, images: int) -> None:
    limits = PlanLimits.for_slots(slots, images)
    batches = (_rows([5_000] * min(16_384, images - at), at) for at in range(0, images, 16_384))
    sizes = [task.num_rows for task in cut_tasks(batches, limits)]
    assert sum(sizes) == images
    assert sizes[:slots] == [limits.task_images] * slots
    assert limits.task_images // 8 <= sizes[-2] <= sizes[0] // 4
    # Each slot takes the next task when it is done; one of them is half as fast as the others.
    ends = [0.0] * slots
    for size in sizes:
        at = min(range(slots), key=ends.__getitem__)
        ends[at] += size * (2 if at == 0 else 1)
    assert max(ends) - min(ends) <= 2 * limits.task_images // 4


def test_no_task_becomes_too_small_to_be_worth_its_start() -> None:
    limits = PlanLimits.for_slots(512, 100_000)
    sizes = [limits.images_of_task(done) for done in range(0, 100_000, 97)]
    assert (max(sizes), min(sizes)) == (49, 32)


def test_tasks_of_a_size_that_is_given_do_not_shrink() -> None:
    limits = PlanLimits.for_slots(2, 100, task_images=10)
    assert [task.num_rows for task in cut_tasks([_rows([5] * 100)], limits)] == [10] * 10


def test_little_memory_makes_small_tasks_and_plenty_changes_nothing() -> None:
    plain = PlanLimits.for_slots(2, 1_000_000)
    assert PlanLimits.for_slots(2, 1_000_000, memory=4 << 30) == plain
    tight = PlanLimits.for_slots(2, 1_000_000, memory=256 << 20)
    assert tight.task_images == plain.task_images // 4
    assert tight.task_bytes == plain.task_bytes // 4
    assert PlanLimits.for_slots(2, 1_000_000, memory=1).task_images >= 32
    assert PlanLimits.for_slots(2, 1_000_000, memory=1, task_images=500).task_images == 500
