"""The steps ``train`` and ``evaluate`` on one OUTPUT: features to ``models/classifier/``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pomona.errors import RecognitionError
from pomona.ledger import versions
from pomona.recognition.saving import EVALUATION, FOLDER, FRUIT, load_recogniser, save_recogniser
from pomona.steps.reduce import model_of_output
from pomona.steps.shared import timed
from pomona.storage import NotFound, NotPermitted, ReadFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pomona.recognition.fruits import FruitTable
    from pomona.steps.shared import Run

_UNABLE = "unable.json"
"""Says why a run could not train, so that the next one need not find out again."""
_SEED = 0
"""Of the split; a fixed number, so that training and evaluation agree on it."""


def recognise(run: Run, steps: Sequence[str], *, required: bool) -> None:
    """Do the recogniser's steps.

    Args:
        run: this one; its ledger is filled in.
        steps: ``train``, ``evaluate`` or both; others are passed over.
        required: whether images that allow no training are an error.

    Raises:
        PomonaError: there are no features, or they do not allow it.
    """
    ledger = run.ledger
    ledger.model = ledger.model or model_of_output(run)
    if not required:
        if not run.features.rows():
            run.observer.note("nothing to train on: no image was embedded")
            return
        _try_to(run)
        return
    if "train" in steps:
        _train(run)
    if "evaluate" in steps:
        _evaluate(run)


def _try_to(run: Run) -> None:
    """Train and evaluate where the images allow it; that they do not is remembered."""
    store, key = run.store, FOLDER + _UNABLE
    wanted = _wanted(run, _table(run))
    known = _read(run, key)
    if known is not None and known.get("wanted") == wanted:
        run.observer.note(str(known.get("why")))
        return
    try:
        _train(run)
        _evaluate(run)
    except RecognitionError as error:
        # Photographs without labels, or too few of them, are no reason for a run to fail.
        why = f"no classifier, or no evaluation: {error.what[:1].lower()}{error.what[1:]}"
        run.observer.note(why)
        store.write(key, json.dumps({"wanted": wanted, "why": why}, indent=2).encode())
    else:
        store.delete(key)


def _table(run: Run) -> FruitTable:
    from pomona.recognition.fruits import load_fruits

    path = run.settings.fruits
    return load_fruits(Path(path).expanduser() if path else None)


def _wanted(run: Run, table: FruitTable) -> dict[str, Any]:
    """What a classifier has to have been trained on, and with, to be the one that is asked for."""
    settings, ledger = run.settings, run.ledger
    return {
        "model": ledger.model,
        "features_version": run.features.version,
        "asked": {
            "penalty": settings.penalty,
            "risk": settings.risk,
            "refuse": settings.refuse,
            "fruits": _digest(sorted(table.fruits.items())),
            "seed": _SEED,
        },
    }


def _train(run: Run) -> None:
    from pomona.recognition.training import look, reading_of, train

    settings, ledger = run.settings, run.ledger
    table = _table(run)
    wanted = _wanted(run, table)
    if _already(run, wanted):
        run.observer.note("nothing to train: the classifier is that of these features")
        if not run.store.exists(FRUIT):
            _export(run)
        return
    context = run.context()
    run.observer.stage("train")
    with timed(ledger, "train"):
        labelled = look(context, run.features, ledger.model)
        if labelled.label_count < 2:
            raise RecognitionError(
                f"The images have {labelled.label_count or 'no'} "
                f"label{'' if labelled.label_count == 1 else 's'}; a classifier needs at least 2.",
                "Give INPUT folders named after what they show, or --layout.",
            )
        reading = reading_of(run.features, ledger.model, labelled.survey, _SEED)
        trained = train(
            context,
            run.features,
            reading,
            table,
            penalty=settings.penalty,
            risk=settings.risk,
            refuse=settings.refuse,
        )
        about = {
            **wanted,
            "run": ledger.run,
            "split": reading.split.how,
            "images": trained.rows,
            "labels_left_out": list(trained.left_out),
            "penalty": trained.penalty,
            "validation": trained.validation,
            "versions": versions(""),
        }
        save_recogniser(run.store, trained.recogniser, about)
        _export(run)
    ledger.classifier = _brief({**about, "classes": trained.recogniser.naming.classes})
    run.observer.note(
        f"{len(trained.recogniser.naming.classes):,} classes trained on "
        f"{trained.rows['train']:,} images; {trained.validation['accuracy']:.1%} right on "
        f"{trained.rows['validate']:,} validation images"
    )


def _export(run: Run) -> None:
    """Write ``models/fruit.onnx``, the whole recogniser; `pomona predict` uses it."""
    from pomona.errors import ModelError
    from pomona.recognition.exporting import export

    run.store.delete(FRUIT)  # that of an older classifier would answer otherwise
    try:
        run.store.write(FRUIT, export(run.store, run.settings.model_dump()))
    except ModelError as error:
        run.observer.note(f"{FRUIT} was not written: {error.what} {error.fix}")


def _evaluate(run: Run) -> None:
    from pomona.recognition.duplicates import Duplicates
    from pomona.recognition.evaluation import told
    from pomona.recognition.testing import answer, audit, leave_out, told_duplicates
    from pomona.recognition.training import look, reading_of

    ledger, store = run.ledger, run.store
    recogniser, manifest = load_recogniser(store)
    if manifest.get("features_version") != run.features.version:
        raise RecognitionError(
            f"{run.output} has other features than those that the classifier was trained on.",
            "Run `pomona train OUTPUT` again.",
        )
    if "penalty" not in manifest:
        raise RecognitionError(
            f"The classifier of {run.output} is of an earlier version of Pomona.",
            "Run `pomona train OUTPUT` again; until then `pomona predict` answers with it.",
        )
    ledger.model = str(manifest["model"])
    known = _read(run, FOLDER + EVALUATION)
    if known is not None and known.get("classifier") == manifest["sha256"]:
        ledger.evaluation = _summary(known)
        run.observer.note("nothing to evaluate: the evaluation is that of this classifier")
        return
    context = run.context()
    run.observer.stage("evaluate")
    naming = recogniser.naming
    with timed(ledger, "evaluate"):
        labelled = look(context, run.features, ledger.model)
        reading = reading_of(run.features, ledger.model, labelled.survey, manifest["asked"]["seed"])
        if reading.classes != naming.classes:
            reading = reading.only(naming.classes)
        units = recogniser.classifier.mean_, recogniser.classifier.scale_
        found = audit(context, reading, labelled, units) or Duplicates.none()
        tally = answer(context, run.features, reading, recogniser, found)
        if not tally.images:
            raise RecognitionError(
                "No labelled image is left to test on.", "Give more images of each label."
            )
        left_out = leave_out(context, run.features, reading, labelled, naming, manifest["penalty"])
        facts = {
            "classifier": manifest["sha256"],
            "model": ledger.model,
            "features_version": run.features.version,
            "run": ledger.run,
            "split": reading.split.how,
            "classes_trained": len(naming.classes),
            "trained_on": manifest["images"],
            "calibration": manifest["calibration"],
            **told(tally, naming),
            "duplicates": told_duplicates(found, tally),
            "leave_out": left_out,
        }
        store.write(FOLDER + EVALUATION, json.dumps(facts, indent=1).encode())
    ledger.evaluation = _summary(facts)


def _already(run: Run, wanted: dict[str, Any]) -> bool:
    try:
        _, manifest = load_recogniser(run.store)
    except RecognitionError:
        return False
    if {key: manifest.get(key) for key in wanted} != wanted:
        return False
    run.ledger.classifier = _brief(manifest)
    return True


def _brief(manifest: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of a classifier."""
    return {
        "classes": len(manifest["classes"]),
        "images": manifest["images"],
        "penalty": manifest["penalty"],
        "validation": manifest["validation"],
        "split": manifest["split"],
    }


def _summary(facts: dict[str, Any]) -> dict[str, Any]:
    """What the ledger says of an evaluation."""
    duplicates = facts["duplicates"]
    names = ("images", "accuracy", "top3", "fruit", "macro_f1", "calibration_error")
    return {
        "classes": facts["classes_trained"],
        **{name: facts[name] for name in names},
        "seen": duplicates["exact"] + duplicates["near"],
        "accuracy_without_seen": duplicates["accuracy_without"],
        "leave_out": facts["leave_out"] and facts["leave_out"]["accuracy"],
    }


def _read(run: Run, key: str) -> dict[str, Any] | None:
    """A JSON object below OUTPUT; None where there is none that can be read."""
    try:
        found = json.loads(run.store.read(key))
    except (NotFound, NotPermitted, ReadFailed, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
