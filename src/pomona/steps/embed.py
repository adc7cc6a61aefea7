"""The step from INPUT to ``features`` and ``rejects``: list, choose, plan, embed, commit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from pomona.embedding.runtime import Engine
from pomona.errors import InputError, LedgerError
from pomona.ledger import newest_ledger
from pomona.steps.shared import timed
from pomona.verdict import bottleneck

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pomona.embedding.choosing import Choice
    from pomona.embedding.known import KnownImages
    from pomona.embedding.network import Network
    from pomona.embedding.runtime import Precision
    from pomona.images.decoding import DecodeLimits
    from pomona.images.listing import Source
    from pomona.images.manifest import Manifest
    from pomona.settings import Settings
    from pomona.steps.shared import Run

_TRIAL_IMAGES = 32
"""Images that engine and precision are chosen on."""


def embed(run: Run, text: str) -> None:
    """Embed what is new or changed in INPUT, and commit it chunk by chunk.

    Args:
        run: this one; its ledger is filled in.
        text: INPUT, as the user named it.

    Raises:
        PomonaError: what was committed before stays.
    """
    from pomona.embedding.catalogue import resolve
    from pomona.embedding.known import KnownImages
    from pomona.images.listing import open_source
    from pomona.storage import Location

    settings, ledger = run.settings, run.ledger
    source = open_source(Location.parse(text, settings.storage))
    network = resolve(
        settings.model,
        size=settings.size,
        mean=settings.mean,
        scale=settings.scale,
        storage=settings.storage,
    )
    manifest = _list(run, source)
    precision, choice = _settled_precision(run, network), None
    if precision is None:
        network, choice = _choose(run, network, source, manifest, settings.precision)
        precision = choice.precision
    ledger.model = network.spec.identity(precision)
    if not run.features.exists():
        run.context()  # a Spark that does not start leaves no empty tables behind
    run.features.create()
    run.rejects.create()
    known = KnownImages(
        run.features, run.rejects, ledger.model, retry_rejects=settings.retry_rejects
    )
    todo = manifest if known.empty else _unknown(run, manifest, known)
    ledger.unchanged = manifest.rows - todo.rows
    ledger.unchanged_rejected = known.unchanged_rejected
    ledger.gone = known.gone
    before, replaced, pruned = run.features.rows(), 0, 0
    if todo.rows:
        if choice is None:
            network, choice = _choose(run, network, source, manifest, precision)
        run.observer.note(f"{ledger.unchanged:,} unchanged, {todo.rows:,} to embed")
        replaced = _embed_todo(run, source, todo, network, choice, known)
    else:
        run.observer.note("nothing to embed: every image is in the tables already")
    if settings.prune and manifest.unlisted:
        run.observer.note(
            f"nothing pruned: {manifest.unlisted:,} tars or members could not be read, so that "
            "images may only seem to be gone"
        )
    elif settings.prune and ledger.gone:
        from pomona.steps.prune import prune

        pruned = prune(run, manifest)
    after = run.features.rows()
    if after != before + ledger.embedded - replaced - pruned:
        raise LedgerError(
            f"The table {run.features.location} has {after:,} rows; {before:,} before "
            f"+ {ledger.embedded:,} embedded - {replaced:,} replaced - {pruned:,} pruned "
            f"were expected.",
            "Something else wrote to it; run the same command again.",
        )
    ledger.check()


def _list(run: Run, source: Source) -> Manifest:
    """List INPUT, and settle the layout of its paths."""
    from pomona.images.layout import Layout
    from pomona.images.listing import SkippedFiles, list_images
    from pomona.images.manifest import Manifest

    run.observer.stage("list")
    ledger, skipped = run.ledger, SkippedFiles()
    with timed(ledger, "list"):
        manifest = Manifest.write(
            _starting(run, source, list_images(source, skipped)),
            run.workspace.scratch / "manifest.arrow",
        )
    ledger.listed = manifest.rows
    ledger.skipped = dict(skipped.counts)
    for why, count in skipped.counts.items():
        run.observer.note(f"left out {count:,}: {why} (such as {skipped.examples[why]})")
    if not manifest.rows:
        raise InputError(
            f"INPUT has no images: {source.location}",
            "Images are found by extension (.jpg, .png, .webp, ...) or content, in folders "
            "and in tars; hidden files do not count.",
        )
    if run.settings.layout:
        manifest.check_layout(Layout(run.settings.layout))
    ledger.layout = run.settings.layout or manifest.detect_layout().template
    run.observer.note(f"{manifest.rows:,} images listed; layout {ledger.layout}")
    return manifest


def _starting(
    run: Run, source: Source, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Start Spark once there is something to do for sure; it starts while the listing goes on.

    A tar is read for some time before its first images are known, and hardly ever has none.
    """
    fresh = not run.features.exists()
    if fresh and source.is_tar:
        run.start_spark()
    for batch in batches:
        if fresh:
            run.start_spark()
        yield batch


def _unknown(run: Run, manifest: Manifest, known: KnownImages) -> Manifest:
    """The listed images that the tables do not hold as they are now."""
    from pomona.images.manifest import Manifest

    with timed(run.ledger, "list"):
        return Manifest.write(known.unknown(manifest), run.workspace.scratch / "todo.arrow")


def _settled_precision(run: Run, network: Network) -> Precision | None:
    """The precision that was asked for, or that the table has rows of; None to choose one."""
    if run.settings.precision != "auto":
        return run.settings.precision
    if not run.features.exists():
        return None
    settled: tuple[Precision, ...] = ("bf16", "fp32")
    models = run.features.distinct("model")
    return next((p for p in settled if network.spec.identity(p) in models), None)


def _embed_todo(
    run: Run,
    source: Source,
    todo: Manifest,
    network: Network,
    choice: Choice,
    known: KnownImages,
) -> int:
    """Embed, commit, and note it in the ledger; the number of rows that were replaced."""
    from pomona.embedding.job import embed_images
    from pomona.embedding.task import EmbedJob
    from pomona.images.planning import PlanLimits
    from pomona.spark.meeting import memory_of_a_slot
    from pomona.spark.session import slots_of, task_cores

    _note_choice(run, network, choice)
    context = run.context()
    settings, ledger = run.settings, run.ledger
    slots = slots_of(context)
    limits = PlanLimits.for_slots(
        slots,
        todo.rows,
        rate=choice.rate,
        task_images=settings.task_images,
        task_bytes=settings.task_bytes,
        memory=memory_of_a_slot(run.greetings),
    )
    if settings.chunk_tasks:
        limits = replace(limits, chunk_tasks=settings.chunk_tasks)
    job = EmbedJob(
        run=ledger.run,
        root=source.root,
        features=run.features.location,
        layout=ledger.layout,
        limits=_decode_limits(settings),
        spec=network.spec,
        model=ledger.model,
        engine=choice.engine,
        precision=choice.precision,
        threads=task_cores(context),
    )
    run.observer.stage("embed")
    tally = embed_images(
        context,
        todo,
        job,
        network,
        known,
        (run.features, run.rejects),
        limits,
        lambda done, rejected: run.observer.progress(done, todo.rows, rejected),
    )
    ledger.embedded = tally.embedded
    ledger.rejected = tally.rejected
    ledger.reasons = dict(tally.reasons)
    ledger.seconds |= tally.seconds
    ledger.seconds["embed_wall"] = tally.wall
    ledger.peak_bytes["worker"] = tally.peak_worker_bytes
    ledger.verdict = bottleneck(tally.seconds, tally.busy, tally.wall, slots)
    return tally.replaced


def _note_choice(run: Run, network: Network, choice: Choice) -> None:
    """Tell what was chosen, and save it: a run that goes on after this one keeps to it."""
    for why in choice.why:
        run.observer.note(why)
    run.ledger.choices += choice.why
    run.ledger.network = {
        "name": network.spec.name,
        "sha256": network.spec.sha256,
        "size": network.spec.size,
        "dimension": choice.dimension,
        "engine": choice.engine,
        "precision": choice.precision,
    }
    run.ledger.save(run.store)


def _settled_engine(run: Run, network: Network, precision: str) -> str:
    """The engine that was asked for, or that rows of this OUTPUT came from; else ``auto``."""
    asked = run.settings.engine
    if asked != "auto" or precision == "auto":
        return asked
    found = newest_ledger(run.store, step="embed", model=network.spec.identity(precision))
    network_facts = found.get("network") if found else None
    engine = network_facts.get("engine") if isinstance(network_facts, dict) else None
    return str(engine) if engine in get_args(Engine) else "auto"


def _choose(
    run: Run, network: Network, source: Source, manifest: Manifest, precision: str
) -> tuple[Network, Choice]:
    """Decide what runs the network; quantise it where that was asked for."""
    from pomona.embedding.choosing import choose
    from pomona.embedding.quantising import CALIBRATION_IMAGES
    from pomona.images.sampling import sample_pixels
    from pomona.storage import open_store

    if precision == "auto" and not _bf16_everywhere(run):
        run.observer.note("bf16 is left out: not every worker's processor computes in it")
        precision = "fp32"
    run.observer.stage("choose")
    with timed(run.ledger, "choose"):
        pixels = sample_pixels(
            open_store(source.root),
            manifest,
            count=CALIBRATION_IMAGES if precision == "int8" else _TRIAL_IMAGES,
            size=network.spec.size,
            limits=_decode_limits(run.settings),
        )
        original = network if precision == "int8" else None
        if precision == "int8":
            network = _quantised(run, network, pixels)
        choice = choose(
            network,
            pixels,
            engine=_settled_engine(run, network, precision),
            precision=precision,
            original=original,
        )
    spec = replace(network.spec, dimension=choice.dimension)
    return replace(network, spec=spec), choice


def _bf16_everywhere(run: Run) -> bool:
    """Whether workers elsewhere can compute what was chosen here; True where that is no question.

    A processor without bf16 would be given it in fp32: other features under the same name.
    """
    from pomona.embedding.choosing import has_bf16
    from pomona.spark.jobs import run_chunks
    from pomona.spark.session import is_local, slots_of

    if is_local(run.settings.master) or run.settings.engine == "onnxruntime" or not has_bf16():
        return True
    context = run.context()
    asked = [list(range(slots_of(context)))]
    found = run_chunks(context, asked, _has_bf16, describe="asking the workers' processors")
    return all(all(answers) for answers in found)


def _has_bf16(_: int) -> bool:
    """What runs on a worker."""
    from pomona.embedding.choosing import has_bf16

    return has_bf16()


def _quantised(run: Run, network: Network, pixels: Any) -> Network:
    """The int8 network of this OUTPUT: made once, so that every run has the same features."""
    from pomona.embedding.quantising import quantise
    from pomona.storage import NotFound

    key = f"models/network/{network.spec.identity('int8')}.onnx"
    try:
        return replace(network, onnx=run.store.read(key))
    except NotFound:
        quantised = quantise(network, pixels)
        run.store.write(key, quantised.onnx)
        return quantised


def _decode_limits(settings: Settings) -> DecodeLimits:
    from pomona.images.decoding import DecodeLimits

    return DecodeLimits(settings.max_bytes, settings.max_pixels)
