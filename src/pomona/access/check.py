"""One thing that ``doctor`` looked at, and what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from pomona.errors import PomonaError

if TYPE_CHECKING:
    from collections.abc import Callable

Mark = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """A finding.

    Attributes:
        name: what was looked at, in a word or two.
        mark: ``ok``; ``warn``: it works, but not well; ``fail``: the chain will not work.
        found: one sentence.
        fix: what to do; empty where it is ok.
    """

    name: str
    mark: Mark
    found: str
    fix: str = ""

    def facts(self) -> dict[str, str]:
        """As ``--json`` gives it."""
        return asdict(self)


def ok(name: str, found: str) -> Check:
    """A check that found nothing wrong."""
    return Check(name, "ok", found)


def warn(name: str, found: str, fix: str) -> Check:
    """A check that found something that works, but not well."""
    return Check(name, "warn", found, fix)


def fail(name: str, found: str, fix: str) -> Check:
    """A check that found something that stops the chain."""
    return Check(name, "fail", found, fix)


def attempt(name: str, look: Callable[[], Check]) -> Check:
    """The finding of ``look``; whatever it raises is a finding too, so that the others go on."""
    try:
        return look()
    except PomonaError as error:
        return fail(name, error.what, error.fix)
    except Exception as error:  # noqa: BLE001 - what is broken on a machine cannot be foreseen
        return fail(name, one_line(error), "Mend what the message names, then run doctor again.")


def one_line(error: BaseException) -> str:
    """An exception in at most 200 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__
