import pyarrow as pa

from pomona.images.planning import PlanLimits, cut_tasks
from pomona.schema import MANIFEST


def _rows(sizes: list[int]) -> pa.RecordBatch:
    rows = [{"path": str(i), "etag": "", "size": size} for i, size in enumerate(sizes)]
    return pa.RecordBatch.from_pylist(rows, schema=MANIFEST)


def test_small_files_make_tens_of_tasks_and_keep_their_order() -> None:
    limits = PlanLimits.for_slots(2, 20_000)
    tasks = list(cut_tasks([_rows([5_000] * 12_000), _rows([5_000] * 8_000)], limits))
    assert 10 <= len(tasks) <= 99
    assert sum(task.num_rows for task in tasks) == 20_000
    assert max(task.num_rows for task in tasks) <= limits.task_images


def test_huge_files_do_not_land_in_one_task() -> None:
    limits = PlanLimits(task_images=1_024, task_bytes=100, chunk_tasks=8)
    tasks = list(cut_tasks([_rows([90, 90, 500, 10, 10])], limits))
    assert [task.num_rows for task in tasks] == [1, 1, 1, 2]
