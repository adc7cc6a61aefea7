"""The chain: the one module that knows the order of the steps.

list -> choose -> plan -> embed (commits) -> reduce -> report
"""

from __future__ import annotations

import resource
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pomona.errors import LedgerError, PomonaError, TableError, UsageError
from pomona.ledger import Ledger, newest_ledger, versions
from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import Location, open_store
from pomona.storage.lock import writing
from pomona.storage.table import Table
from pomona.verdict import bottleneck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark import SparkContext

    from pomona.embedding.choosing import Choice
    from pomona.embedding.known import KnownImages
    from pomona.embedding.network import Network
    from pomona.embedding.runtime import Precision
    from pomona.images.listing import Source
    from pomona.images.manifest import Manifest
    from pomona.settings import Settings
    from pomona.spark.java import Java
    from pomona.workspace import Workspace

Step = Literal["embed", "reduce", "report"]
WHOLE: tuple[Step, ...] = ("embed", "reduce", "report")
"""The steps of ``pomona run``, in order."""

_TRIAL_IMAGES = 32
"""Images that engine and precision are chosen on."""


class Observer(Protocol):
    """Who watches a run: the command line's progress bar, a notebook, or nobody."""

    def stage(self, name: str) -> None:
        """A stage begins."""

    def note(self, text: str) -> None:
        """Something was found or chosen."""

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Images done, of how many, and how many of them were rejected."""


class Silent:
    """An observer that does nothing."""

    def stage(self, name: str) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def progress(self, done: int, total: int, rejected: int) -> None:
        """Ignore it."""


@dataclass
class Chain:
    """One run on one OUTPUT.

    Attributes:
        output: where the tables are.
        settings: in force.
        workspace: of this run.
        observer: told what happens.
    """

    output: Location
    settings: Settings
    workspace: Workspace
    observer: Observer

    def __post_init__(self) -> None:
        self._spark: Future[SparkContext] | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="pomona-spark")
        self._java: Java | None = None
        self.features = Table(self.output.join("features"), FEATURES_TABLE)
        self.rejects = Table(self.output.join("rejects"), REJECTS_TABLE)
        self.components = Table(self.output.join("components"), COMPONENTS_TABLE)

    def run(self, steps: tuple[Step, ...], source: str | None = None) -> Ledger:
        """Do some steps, in the chain's order.

        Args:
            steps: which.
            source: INPUT; needed for ``embed`` alone.

        Returns:
            The ledger, as it was saved below OUTPUT.

        Raises:
            PomonaError: the ledger then says ``failed``; what was committed stays.
            KeyboardInterrupt: likewise, with ``interrupted``.
        """
        begin = time.perf_counter()
        ledger = Ledger(
            run=self.workspace.run,
            input=source or "",
            output=str(self.output),
            steps=list(steps),
            started=_now(),
            settings=self.settings.model_dump(mode="json"),
        )
        store = open_store(self.output)
        with writing(self.output):
            try:
                if "embed" in steps:
                    if source is None:
                        raise UsageError("INPUT is missing.", "pomona embed INPUT OUTPUT")
                    self._embed(source, ledger)
                if "reduce" in steps:
                    self._reduce(ledger, required=steps != WHOLE)
                ledger.status = "done"
                self._finish(ledger, begin)
                if "report" in steps and self._report_is_due(ledger):
                    self._report(ledger)
                    ledger.seconds["total"] = time.perf_counter() - begin
            except BaseException as error:
                interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
                ledger.status = "interrupted" if interrupted else "failed"
                ledger.error = str(error) if isinstance(error, PomonaError) else repr(error)
                self._finish(ledger, begin)
                raise
            finally:
                self._stop_spark()
                if steps != ("report",) and self.features.exists():
                    ledger.save(store)
        return ledger

    def _embed(self, text: str, ledger: Ledger) -> None:
        from pomona.embedding.catalogue import resolve
        from pomona.embedding.known import KnownImages
        from pomona.images.listing import SkippedFiles, list_images, open_source
        from pomona.images.manifest import Manifest

        source = open_source(text)
        if source.location == self.output:
            raise UsageError(
                f"INPUT and OUTPUT are the same folder: {self.output}", "Choose another OUTPUT."
            )
        settings = self.settings
        network = resolve(
            settings.model, size=settings.size, mean=settings.mean, scale=settings.scale
        )
        if not self.features.exists():
            self._start_spark()  # it starts while the listing goes on
        self.observer.stage("list")
        skipped = SkippedFiles()
        with _timed(ledger, "list"):
            manifest = Manifest.write(
                list_images(source, skipped), self.workspace.scratch / "manifest.arrow"
            )
        ledger.listed = manifest.rows
        ledger.skipped = dict(skipped.counts)
        for why, count in skipped.counts.items():
            self.observer.note(f"left out {count:,}: {why} (such as {skipped.examples[why]})")
        if not manifest.rows:
            raise UsageError(
                f"INPUT has no images: {source.location}",
                "Images are found by extension (.jpg, .png, .webp, ...) or content, in folders "
                "and in tars; hidden files do not count.",
            )
        layout = settings.layout or manifest.detect_layout().template
        ledger.layout = layout
        self.observer.note(f"{manifest.rows:,} images listed; layout {layout}")
        self.features.create()
        self.rejects.create()
        precision = self._settled_precision(network)
        choice = None
        if precision is None:
            network, choice = self._choose(network, source, manifest, settings.precision)
            precision = choice.precision
        ledger.model = network.spec.identity(precision)
        known = KnownImages(
            self.features, self.rejects, ledger.model, retry_rejects=settings.retry_rejects
        )
        todo = manifest
        if not known.empty:
            with _timed(ledger, "list"):
                todo = Manifest.write(
                    known.unknown(manifest), self.workspace.scratch / "todo.arrow"
                )
        ledger.unchanged = manifest.rows - todo.rows
        ledger.unchanged_rejected = known.unchanged_rejected
        ledger.gone = known.gone
        before, replaced, pruned = self.features.rows(), 0, 0
        if todo.rows:
            if choice is None:
                network, choice = self._choose(network, source, manifest, precision)
            self.observer.note(f"{ledger.unchanged:,} unchanged, {todo.rows:,} to embed")
            replaced = self._embed_todo(source, todo, network, choice, known, ledger)
        else:
            self.observer.note("nothing to embed: every image is in the tables already")
        if settings.prune and ledger.gone:
            pruned = self._prune(manifest, ledger)
        after = self.features.rows()
        if after != before + ledger.embedded - replaced - pruned:
            raise LedgerError(
                f"The table {self.features.location} has {after:,} rows; {before:,} before "
                f"+ {ledger.embedded:,} embedded - {replaced:,} replaced - {pruned:,} pruned "
                f"were expected.",
                "Something else wrote to it; run the same command again.",
            )
        ledger.check()

    def _settled_precision(self, network: Network) -> Precision | None:
        """The precision that was asked for, or that the table has rows of; None to choose one."""
        if self.settings.precision != "auto":
            return self.settings.precision
        settled: tuple[Precision, ...] = ("bf16", "fp32")
        models = self.features.distinct("model")
        return next((p for p in settled if network.spec.identity(p) in models), None)

    def _embed_todo(
        self,
        source: Source,
        todo: Manifest,
        network: Network,
        choice: Choice,
        known: KnownImages,
        ledger: Ledger,
    ) -> int:
        """Embed, commit, and note it in the ledger; the number of rows that were replaced."""
        from pomona.embedding.job import embed_images
        from pomona.embedding.task import EmbedJob
        from pomona.images.planning import PlanLimits
        from pomona.spark.session import slots_of, task_cores

        context = self._context(ledger)
        settings = self.settings
        slots = slots_of(context)
        limits = PlanLimits.for_slots(
            slots, todo.rows, task_images=settings.task_images, task_bytes=settings.task_bytes
        )
        if settings.chunk_tasks:
            limits = replace(limits, chunk_tasks=settings.chunk_tasks)
        job = EmbedJob(
            run=ledger.run,
            root=source.root,
            features=self.features.location,
            layout=ledger.layout,
            limits=_decode_limits(settings),
            spec=network.spec,
            model=ledger.model,
            engine=choice.engine,
            precision=choice.precision,
            threads=task_cores(context),
        )
        for why in choice.why:
            self.observer.note(why)
        ledger.choices += choice.why
        ledger.network = {
            "name": network.spec.name,
            "sha256": network.spec.sha256,
            "size": network.spec.size,
            "dimension": choice.dimension,
            "engine": choice.engine,
            "precision": choice.precision,
        }
        self.observer.stage("embed")
        tables = (self.features, self.rejects)
        tally = embed_images(
            context,
            todo,
            job,
            network,
            known,
            tables,
            limits,
            lambda done, rejected: self.observer.progress(done, todo.rows, rejected),
        )
        ledger.embedded = tally.embedded
        ledger.rejected = tally.rejected
        ledger.reasons = dict(tally.reasons)
        ledger.seconds |= tally.seconds
        ledger.seconds["embed_wall"] = tally.wall
        ledger.peak_bytes["worker"] = tally.peak_worker_bytes
        ledger.verdict = bottleneck(tally.seconds, tally.busy, tally.wall, slots)
        return tally.replaced

    def _choose(
        self, network: Network, source: Source, manifest: Manifest, precision: str
    ) -> tuple[Network, Choice]:
        """Decide what runs the network; quantise it where that was asked for."""
        from pomona.embedding.choosing import choose
        from pomona.embedding.quantising import CALIBRATION_IMAGES
        from pomona.images.sampling import sample_pixels

        pixels = sample_pixels(
            open_store(source.root),
            manifest,
            count=CALIBRATION_IMAGES if precision == "int8" else _TRIAL_IMAGES,
            size=network.spec.size,
            limits=_decode_limits(self.settings),
        )
        original = network if precision == "int8" else None
        if precision == "int8":
            network = self._quantised(network, pixels)
        choice = choose(
            network,
            pixels,
            engine=self.settings.engine,
            precision=precision,
            original=original,
        )
        spec = replace(network.spec, dimension=choice.dimension)
        return replace(network, spec=spec), choice

    def _quantised(self, network: Network, pixels: Any) -> Network:
        """The int8 network of this OUTPUT: made once, so that every run has the same features."""
        from pomona.embedding.quantising import quantise
        from pomona.storage import NotFound

        store = open_store(self.output)
        key = f"models/network/{network.spec.identity('int8')}.onnx"
        try:
            return replace(network, onnx=store.read(key))
        except NotFound:
            quantised = quantise(network, pixels)
            store.write(key, quantised.onnx)
            return quantised

    def _prune(self, manifest: Manifest, ledger: Ledger) -> int:
        """Remove the rows of images that INPUT does not list, whatever their model."""
        from pomona.embedding.known import PathSet

        listed = PathSet(manifest)
        removed = [0, 0]
        for index, table in enumerate((self.features, self.rejects)):
            added, dropped = [], []
            for file in table.files():
                kept = file.rows - int(
                    sum(listed.lacks(table.read(file.path, ["path"])).to_pylist())
                )
                if kept == file.rows:
                    continue
                dropped.append(file.path)
                removed[index] += file.rows - kept
                if kept:
                    copy = table.without(file.path, listed.lacks)
                    added += [copy] if copy else []
            table.commit(added, removed=dropped)
        ledger.pruned = sum(removed)
        return removed[0]

    def _reduce(self, ledger: Ledger, *, required: bool) -> None:
        from pomona.reduction.job import fit_pca, project
        from pomona.reduction.saving import save_pca

        ledger.model = ledger.model or self._model_of_output()
        if not required and not self.features.rows():
            self.observer.note("nothing to reduce: no image was embedded")
            return
        wanted = {
            "model": ledger.model,
            "features_version": self.features.version,
            "asked": {
                "components": self.settings.components,
                "variance": self.settings.variance,
            },
        }
        if self._already_reduced(wanted, ledger):
            self.observer.note("nothing to reduce: the components are those of these features")
            return
        context = self._context(ledger)
        self.observer.stage("reduce")
        with _timed(ledger, "reduce"):
            pca = fit_pca(
                context,
                self.features,
                ledger.model,
                components=self.settings.components,
                variance=self.settings.variance,
            )
            rows = project(context, self.features, self.components, ledger.model, ledger.run, pca)
            about = {**wanted, "run": ledger.run, "rows": rows, "versions": versions("")}
            save_pca(open_store(self.output), pca, about, "models/pca/")
        ledger.components = pca.k
        ledger.explained_variance = float(pca.explained_variance_ratio_.sum())
        self.observer.note(
            f"{pca.k} components keep {ledger.explained_variance:.1%} of the variance "
            f"of {len(pca.mean_):,} features"
        )

    def _already_reduced(self, wanted: dict[str, Any], ledger: Ledger) -> bool:
        from pomona.reduction.saving import load_pca

        if not self.components.exists():
            return False
        try:
            _, manifest = load_pca(open_store(self.output), "models/pca/")
        except TableError:
            return False
        if {key: manifest.get(key) for key in wanted} != wanted:
            return False
        ledger.components = manifest["k"]
        ledger.explained_variance = manifest["explained_variance"]
        return manifest.get("rows") == self.components.rows()

    def _model_of_output(self) -> str:
        """The model of the newest run that embedded, or the only one in the table."""
        found = newest_ledger(open_store(self.output), step="embed")
        models = self.features.distinct("model")
        if found is not None and found.get("model") in models:
            return str(found["model"])
        if len(models) == 1:
            return models.pop()
        raise TableError(
            f"{self.output} has features of {len(models)} models."
            if models
            else f"{self.output} has no features.",
            "Run `pomona embed INPUT OUTPUT` first.",
        )

    def _report_is_due(self, ledger: Ledger) -> bool:
        """Whether the page would say something new; a step of its own always writes it."""
        reduced = ledger.seconds["reduce"] > 0
        there = open_store(self.output).exists("report.html")
        return ledger.steps == ["report"] or ledger.changed or reduced or not there

    def _report(self, ledger: Ledger) -> None:
        from pomona.report.page import write_report

        self.observer.stage("report")
        told = ledger.facts() if "embed" in ledger.steps else None
        with _timed(ledger, "report"):
            write_report(self.output, ledger.model or self._model_of_output(), told)

    def _finish(self, ledger: Ledger, begin: float) -> None:
        ledger.ended = _now()
        ledger.seconds["total"] = time.perf_counter() - begin
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ledger.peak_bytes["driver"] = peak if sys.platform == "darwin" else peak * 1024
        ledger.versions = versions(str(self._java or "not started"))
        for table in (self.features, self.rejects, self.components):
            if table.exists():
                ledger.tables[table.location.name] = table.version

    def _start_spark(self) -> Future[SparkContext]:
        from pomona.spark.java import find_java
        from pomona.spark.session import start_spark

        if self._spark is None:
            self._java = find_java()
            self._spark = self._starter.submit(
                start_spark,
                self.settings.master,
                scratch=self.workspace.scratch,
                log=self.workspace.log,
                extra=self.settings.spark_conf,
                java=self._java,
            )
        return self._spark

    def _context(self, ledger: Ledger) -> SparkContext:
        self.observer.stage("start")
        with _timed(ledger, "start"):
            return self._start_spark().result()

    def _stop_spark(self) -> None:
        self._starter.shutdown(wait=True)
        if self._spark is not None and self._spark.exception() is None:
            self._spark.result().stop()


@contextmanager
def _timed(ledger: Ledger, stage: str) -> Iterator[None]:
    begin = time.perf_counter()
    try:
        yield
    finally:
        ledger.seconds[stage] += time.perf_counter() - begin


def _decode_limits(settings: Settings) -> Any:
    from pomona.images.decoding import DecodeLimits

    return DecodeLimits(settings.max_bytes, settings.max_pixels)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
