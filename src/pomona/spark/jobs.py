"""Running chunks of tasks on Spark: small things in, small things out.

Each chunk is one Spark job. The next one is handed in while the present one still runs, so that
no core waits for the last task of a chunk or for a commit.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import traceback
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pomona.errors import PomonaError, SparkError
from pomona.spark.identity import differs

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from pyspark import SparkContext

Payload = TypeVar("Payload")
Result = TypeVar("Result")

_IN_FLIGHT = 2
"""Chunks that Spark holds at a time."""

_numbers = count()
"""Names the jobs of this process."""

_MARK = "POMONA-TASK-FAILED"


@dataclass(frozen=True)
class _Refusal:
    """A worker's error that trying again would not mend; it comes back as a result."""

    kind: str
    what: str
    fix: str


class _Task(Generic[Payload, Result]):
    """What runs on the worker: the work, and its errors in a form that the driver can read."""

    def __init__(self, work: Callable[[Payload], Result], describe: str) -> None:
        self._work = work
        self._describe = describe

    def __call__(self, payloads: Iterable[Payload]) -> Iterator[Result | _Refusal]:
        if differs():
            yield _Refusal(
                "SparkError",
                f"The worker {socket.gethostname()} has a Pomona with other code than the "
                "driver's.",
                "Install the same one there, then run the same command again.",
            )
            return
        for payload in payloads:
            try:
                yield self._work(payload)
            except PomonaError as error:
                yield _Refusal(type(error).__name__, error.what, error.fix)
            except Exception as error:
                raise _marked(error, self._describe) from error


class Told(Generic[Payload, Result]):
    """A function for Spark SQL whose errors :func:`translate` understands on the driver."""

    def __init__(self, work: Callable[[Payload], Result], describe: str) -> None:
        self._work = work
        self._describe = describe

    def __call__(self, payload: Payload) -> Result:
        """Do the work."""
        try:
            return self._work(payload)
        except Exception as error:
            raise _marked(error, self._describe) from error


class ToldItems(Generic[Payload, Result]):
    """The same for a function whose result is an iterator."""

    def __init__(self, work: Callable[[Payload], Iterator[Result]], describe: str) -> None:
        self._work = work
        self._describe = describe

    def __call__(self, payload: Payload) -> Iterator[Result]:
        """Do the work, item by item."""
        try:
            yield from self._work(payload)
        except Exception as error:
            raise _marked(error, self._describe) from error


def _marked(error: Exception, describe: str) -> RuntimeError:
    """An error whose text survives the way through Java, for people in front, for us behind."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    story = {
        "type": type(error).__name__,
        "text": " ".join(str(error).split())[:300],
        "where": f"{last.filename.rsplit('/', 1)[-1]}:{last.lineno}",
        "doing": describe,
    }
    if isinstance(error, PomonaError):
        story |= {"what": error.what, "fix": error.fix}
    return RuntimeError(f"{error}\n{_MARK} {json.dumps(story)} {_MARK}")


def run_chunks(
    context: SparkContext,
    chunks: Iterable[list[Payload]],
    work: Callable[[Payload], Result],
    *,
    describe: str,
    on_task: Callable[[Any], Any] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Generator[list[Result]]:
    """Run the tasks of each chunk in parallel; yield their results chunk by chunk, in order.

    Close it when it is not followed to its end: that cancels what Spark still works on.

    Args:
        context: Spark.
        chunks: lists of picklable payloads, one payload a task; consumed lazily.
        work: what to do with a payload; picklable by name.
        describe: what the work is, for messages ("embedding images").
        on_task: called on the worker with each result, to count progress there.
        on_wait: called a few times a second while waiting.

    Raises:
        PomonaError: a worker raised one, for instance because OUTPUT cannot be written.
        SparkError: a worker or Spark failed in another way.
    """
    task = _Task(_Counted(work, on_task) if on_task else work, describe)
    pending: deque[Future[list[Any]]] = deque()
    feed = iter(chunks)
    pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="pomona-chunk")
    try:
        while True:
            while len(pending) < _IN_FLIGHT and (chunk := next(feed, None)) is not None:
                group = f"pomona-{next(_numbers)}"
                pending.append(pool.submit(_run_job, context, chunk, task, group, describe))
                _await_start(context, group, pending[-1])
            if not pending:
                return
            yield _results(pending.popleft(), on_wait, describe)
    except BaseException:
        context.cancelAllJobs()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def tree_reduce(
    context: SparkContext,
    payloads: list[Payload],
    work: Callable[[Payload], Result],
    merge: Callable[[Result, Result], Result],
    *,
    describe: str,
) -> Result:
    """Run tasks in parallel and merge their results pairwise on the workers, in a tree.

    Raises:
        PomonaError: a worker raised one.
        SparkError: a worker or Spark failed in another way.
    """
    task = _Task(work, describe)
    rdd = context.parallelize(payloads, len(payloads)).mapPartitions(task)

    def merged(left: Any, right: Any) -> Any:
        for side in (left, right):
            if isinstance(side, _Refusal):
                return side
        return merge(left, right)

    try:
        found = rdd.treeReduce(merged)
    except Exception as error:
        raise translate(error, describe) from error
    result: Result = _accepted(found)
    return result


def _run_job(
    context: SparkContext, payloads: list[Any], task: _Task[Any, Any], group: str, describe: str
) -> list[Any]:
    context.setJobGroup(group, describe)
    rdd = context.parallelize(payloads, len(payloads)).mapPartitions(task)
    return list(rdd.collect())


def _await_start(context: SparkContext, group: str, job: Future[list[Any]]) -> None:
    """Wait until Spark has taken a job in: it works on jobs in the order in which they come."""
    from py4j.protocol import Py4JError

    tracker = context.statusTracker()
    # Where Java is gone, the job itself says so.
    with suppress(Py4JError):
        while not job.done() and not tracker.getJobIdsForGroup(group):
            wait([job], timeout=0.005)


def _results(
    future: Future[list[Any]], on_wait: Callable[[], None] | None, describe: str
) -> list[Any]:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not done.wait(0.2):
        if on_wait is not None:
            on_wait()
    try:
        return [_accepted(result) for result in future.result()]
    except PomonaError:
        raise
    except Exception as error:
        raise translate(error, describe) from error


def _accepted(result: Any) -> Any:
    if isinstance(result, _Refusal):
        raise _error(result.kind, result.what, result.fix)
    return result


def _error(kind: str, what: str, fix: str) -> PomonaError:
    """An error of the class that it had on the worker."""
    from pomona import errors

    found: PomonaError = getattr(errors, kind, PomonaError)(what, fix)
    return found


class _Counted(Generic[Payload, Result]):
    """Work that tells the driver of each result, through an accumulator."""

    def __init__(self, work: Callable[[Payload], Result], count: Callable[[Any], Any]) -> None:
        self._work = work
        self._count = count

    def __call__(self, payload: Payload) -> Result:
        result = self._work(payload)
        self._count(result)
        return result


_KNOWN = (
    (
        re.compile(r"Python worker exited unexpectedly|worker.*crashed", re.IGNORECASE),
        "A Python worker died; most often the system ended it for lack of memory.",
        "Give it less to do at once (--master 'local[1]', or a smaller --task-images).",
    ),
    (
        re.compile(r"No space left on device"),
        "The disk is full.",
        "Free some space, then run the same command again: it goes on where it was.",
    ),
    (
        re.compile(r"No module named '?([\w.]+)'?"),
        "A worker lacks the Python package {0}.",
        "Install the same version of Pomona on every worker, or ship this one: `pomona cluster "
        "pack`, then --environment with the archive that it made.",
    ),
    (
        re.compile(r'Cannot run program "([^"]+)"'),
        "A worker cannot run {0}.",
        "Let --spark-conf spark.pyspark.python=... name its Python, or ship one: `pomona cluster "
        "pack`, then --environment with the archive that it made.",
    ),
    (
        re.compile(r"PYTHON_VERSION_MISMATCH.*?(\d+\.\d+)", re.DOTALL),
        "The workers run Python {0}, the driver another one.",
        "Install the same Python (first two numbers) on every worker, or ship this one: `pomona "
        "cluster pack`, then --environment with the archive that it made.",
    ),
    (
        re.compile(r"All masters are unresponsive|SparkContext was shut down"),
        "The master has ended the application, or does not answer any more.",
        "See its log, then run the same command again: finished chunks are kept.",
    ),
    (
        re.compile(r"OutOfMemoryError"),
        "Spark's Java ran out of memory.",
        "Raise it: --spark-conf spark.driver.memory=4g.",
    ),
)


def translate(error: BaseException, describe: str) -> PomonaError:
    """A Java or worker failure as one error of a few lines; a worker's own PomonaError as it was.

    Args:
        error: as py4j or PySpark raised it, with the Java stack in its text.
        describe: what was being done.
    """
    text = str(error)
    told = re.search(rf"{_MARK} (\{{.*?\}}) {_MARK}", text, re.DOTALL)
    if told is not None:
        story = json.loads(told.group(1))
        if "what" in story:
            return _error(story["type"], story["what"], story["fix"])
        return SparkError(
            f"A worker failed while {story['doing']}: {story['type']}: {story['text']} "
            f"({story['where']}).",
            "Finished chunks are kept; run the same command again. If it fails again at the "
            "same place, please report it with the log file.",
        )
    for pattern, what, fix in _KNOWN:
        found = pattern.search(text)
        if found is not None:
            return SparkError(what.format(*found.groups()), fix)
    first = text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
    return SparkError(
        f"Spark failed while {describe}: {first}",
        "Finished chunks are kept; run the same command again.",
    )
