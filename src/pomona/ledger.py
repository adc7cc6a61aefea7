"""The record of a run: what was listed, what became of it, how long it took, what was chosen."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pomona.errors import LedgerError, TableError
from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from pomona.storage import Store

FOLDER = "runs/"
_PACKAGES = (
    "pomona",
    "pyspark",
    "pyarrow",
    "deltalake",
    "numpy",
    "openvino",
    "onnxruntime",
    "pillow",
)

SECONDS = (
    "list", "choose", "start", "read", "decode", "embed", "write", "commit", "embed_wall",
    "reduce", "train", "evaluate", "report", "total",
)  # fmt: skip
"""Stages of the ``seconds`` object. ``read``, ``decode``, ``embed`` and ``write`` are core-seconds
added up over all tasks, the others are seconds on the driver's clock; ``choose`` measures engines
and precisions; ``start`` is the time that the run waited for Spark, which starts meanwhile;
``embed_wall`` runs from the first task's start to the last commit."""


@dataclass
class Ledger:
    """One run, as ``runs/RUN_ID.json`` has it.

    ``listed = embedded + rejected + unchanged`` holds for every run that is ``done``.

    Attributes:
        run: identity.
        status: ``running``, ``done``, ``failed`` or ``interrupted``.
        input: as the user named it; empty for a step that needs none.
        output: likewise.
        steps: what was asked for.
        listed: images in INPUT.
        embedded: rows added to ``features`` by this run.
        rejected: rows added to ``rejects`` by this run.
        unchanged: images that the tables held already.
        unchanged_rejected: those of them that stand in ``rejects``.
        gone: images that the tables hold and INPUT does not.
        pruned: rows of such images that were removed.
        skipped: files that are not images, by why.
        reasons: rejects of this run by reason.
        model: value of the ``model`` column.
        network: what is known of it.
        layout: the template that was used.
        choices: one sentence a decision.
        components: components kept; None where nothing was reduced.
        explained_variance: share of the variance that they keep.
        classifier: what was trained and how well it did on the validation images, in brief.
        evaluation: how well it did on the test images, in brief.
        seconds: by stage, see :data:`SECONDS`.
        verdict: one sentence on the bottleneck.
        peak_bytes: largest resident memory of the driver's Python, of its Java and of any worker.
        tables: version of each table afterwards.
        quote: what was predicted of it, and what became of that; empty where nothing was.
        settings: as they were in force.
        versions: of Python, Java and the packages.
        error: what went wrong, if anything.
    """

    run: str
    input: str
    output: str
    steps: list[str]
    status: str = "running"
    started: str = ""
    ended: str = ""
    listed: int = 0
    embedded: int = 0
    rejected: int = 0
    unchanged: int = 0
    unchanged_rejected: int = 0
    gone: int = 0
    pruned: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    model: str = ""
    network: dict[str, Any] = field(default_factory=dict)
    layout: str = ""
    choices: list[str] = field(default_factory=list)
    components: int | None = None
    explained_variance: float | None = None
    classifier: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SECONDS, 0.0))
    verdict: str = ""
    peak_bytes: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    quote: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    error: str = ""

    @property
    def changed(self) -> bool:
        """Whether the run changed any table."""
        return bool(self.embedded or self.rejected or self.pruned)

    def check(self) -> None:
        """Make sure that every listed image is accounted for.

        Raises:
            LedgerError: it is not.
        """
        found = self.embedded + self.rejected + self.unchanged
        if found != self.listed:
            raise LedgerError(
                f"The ledger does not balance: {self.listed:,} listed, but "
                f"{self.embedded:,} embedded + {self.rejected:,} rejected + "
                f"{self.unchanged:,} unchanged = {found:,}.",
                "Run the same command again; if it stays so, please report it with the log file.",
            )

    def compare(self, images: int, seconds: float, eur_an_hour: float) -> None:
        """Fill in ``quote``: what was predicted against what it came to.

        Args:
            images: that were to be embedded.
            seconds: that the run was to take.
            eur_an_hour: that its machines cost.
        """
        took, done = self.seconds["total"], self.embedded + self.rejected
        cost = took / 3_600 * eur_an_hour
        self.quote = {
            "images": images,
            "seconds": seconds,
            "eur": round(seconds / 3_600 * eur_an_hour, 6),
            "actual_images": done,
            "actual_seconds": round(took, 3),
            "actual_eur": round(cost, 6),
            # A run that found other images than the quote was for says nothing of the quote.
            "actual_to_quoted": round(took / seconds, 4) if done == images else None,
            "eur_per_1000_images": round(cost / done * 1_000, 6) if done else None,
        }

    def save(self, output: Store) -> None:
        """Write ``runs/RUN_ID.json`` below OUTPUT."""
        text = json.dumps(self.facts(), indent=2)
        output.write(f"{FOLDER}{self.run}.json", text.encode())

    def facts(self) -> dict[str, Any]:
        """Everything as plain values; seconds to the millisecond."""
        rounded = {name: round(value, 3) for name, value in self.seconds.items()}
        return asdict(self) | {"seconds": rounded}


def read_ledger(output: Store, name: str) -> dict[str, Any]:
    """One ledger as a dictionary.

    Raises:
        TableError: it is absent or no JSON object.
    """
    try:
        found = json.loads(output.read(FOLDER + name))
    except (NotFound, NotPermitted, ReadFailed, ValueError) as error:
        raise TableError(
            f"The ledger {output.root}/{FOLDER}{name} cannot be read: {error}.",
            "Remove it; the next run writes a new one.",
        ) from error
    if not isinstance(found, dict):
        raise TableError(
            f"The ledger {output.root}/{FOLDER}{name} is not a JSON object.",
            "Remove it; the next run writes a new one.",
        )
    return found


def newest_ledger(
    output: Store, *, step: str | None = None, model: str | None = None
) -> dict[str, Any] | None:
    """The newest ledger of a finished run, or with ``model`` of any run on that model.

    Ledgers that cannot be read are passed over; run identities sort by time.

    Args:
        output: where ``runs/`` is.
        step: only ledgers of runs that had it.
        model: only ledgers of runs on it, also of those that did not come to their end.
    """
    for name in reversed(output.names(FOLDER)):
        if not name.endswith(".json"):
            continue
        try:
            found = read_ledger(output, name)
        except TableError:
            continue
        steps = found.get("steps")
        fits = found.get("status") == "done" if model is None else found.get("model") == model
        if fits and isinstance(steps, list) and step in (None, *steps):
            return found
    return None


def versions(java: str) -> dict[str, str]:
    """Versions of Python, Java and the packages that matter for a result."""
    found = {"python": platform.python_version(), "java": java}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def present_model(output: Store, models: set[str]) -> str:
    """Which of the models that ``features`` has is that of the newest run that embedded.

    Args:
        output: OUTPUT.
        models: the distinct values of the ``model`` column.

    Raises:
        TableError: there are no features, or those of several models and no run that tells.
    """
    found = newest_ledger(output, step="embed")
    if found is not None and found.get("model") in models:
        return str(found["model"])
    if len(models) == 1:
        return next(iter(models))
    raise TableError(
        f"{output.root} has features of {len(models)} models."
        if models
        else f"{output.root} has no features.",
        "Run `pomona embed INPUT OUTPUT` first.",
    )
