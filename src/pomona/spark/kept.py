"""What workers have made of the data, kept on their disks and gone over again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pyspark import StorageLevel

from pomona.spark.jobs import Told, ToldItems, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyspark import RDD, SparkContext

Item = TypeVar("Item")
Result = TypeVar("Result")


class Kept(Generic[Item]):
    """Items that are made in the first pass over them and read from local disks in the others.

    They may be more than the workers' memory holds; the driver never sees them.

    Args:
        items: lazily made; picklable.
    """

    def __init__(self, items: RDD[Item]) -> None:
        self._items = items.persist(StorageLevel.DISK_ONLY)

    @classmethod
    def of(
        cls,
        context: SparkContext,
        payloads: list[Any],
        make: Callable[[Any], Iterator[Item]],
        *,
        describe: str,
    ) -> Kept[Item]:
        """Items that are made of payloads, one task each.

        Args:
            context: Spark.
            payloads: picklable.
            make: items of a payload; picklable by name.
            describe: what it is, for messages.
        """
        tasks = context.parallelize(payloads, max(1, len(payloads)))
        return cls(tasks.flatMap(ToldItems(make, describe)))

    def __enter__(self) -> Kept[Item]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._items.unpersist()

    def mapped(self, change: Callable[[Item], Item], *, describe: str) -> Kept[Item]:
        """The items as something makes them, kept beside these.

        Args:
            change: picklable by name.
            describe: what it is, for messages.
        """
        return Kept(self._items.map(Told(change, describe)))

    def reduce(self, work: Callable[[Item], Any], *, describe: str) -> Any:
        """Do something with each item; merge what it gives, on the workers and in a tree.

        Args:
            work: picklable by name; gives something with a method ``merge``, or None.
            describe: what it is, for messages.

        Returns:
            What was merged; None where no item gave anything.

        Raises:
            PomonaError: a worker raised one.
            SparkError: a worker or Spark failed in another way.
        """
        try:
            done = self._items.map(Told(work, describe))
            return done.treeAggregate(None, merge_found, merge_found)
        except Exception as error:
            raise translate(error, describe) from error

    def at_once(
        self, works: Sequence[Callable[[list[Item]], Result]], *, describe: str
    ) -> list[Result]:
        """Do several things with all items, each in one task, for items that are few.

        Returns:
            What each gave, in order.

        Raises:
            PomonaError: the worker raised one.
            SparkError: the worker or Spark failed in another way.
        """
        context = self._items.context
        together = self._items.coalesce(1).glom()
        done = context.union([together.map(Told(work, describe)) for work in works])
        try:
            return list(done.collect())
        except Exception as error:
            raise translate(error, describe) from error


def merge_found(left: Any, right: Any) -> Any:
    """Merge, where None stands for nothing."""
    if left is None or right is None:
        return right if left is None else left
    return left.merge(right)
