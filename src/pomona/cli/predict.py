"""``pomona predict``: what a photograph shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pomona.cli import options as o

if TYPE_CHECKING:
    from pomona.recognition.predicting import Prediction


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict_images)


def predict_images(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[OUTPUT] IMAGE...",
            help="Photographs, folders or tars; before them the OUTPUT whose recogniser is used. "
            "Without one, the built-in recogniser names them.",
        ),
    ],
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Name the fruit of photographs: a class, a fruit, or an honest "not sure"."""
    from pomona.cli.terminal import print_json, reporting, say

    with reporting(verbose=verbose):
        from pomona.errors import UsageError
        from pomona.recognition.predicting import open_recogniser, predict

        output, images = _sorted_out(arguments)
        if not images:
            raise UsageError("No image is given.", "pomona predict OUTPUT IMAGE...")
        recogniser = open_recogniser(output)
        if not recogniser.calibrated and not quiet:
            say(f"{recogniser.name}: its confidence is not calibrated")
        told: list[dict[str, Any]] = []
        found = rejected = 0
        for source in images:
            for prediction in predict(recogniser, source):
                found += 1
                rejected += prediction.reject is not None
                if as_json:
                    told.append(prediction.facts())
                else:
                    _tell(prediction)
        if not found:
            raise UsageError("There is no image in what was given.", "Give photographs.")
        if as_json:
            print_json({"recogniser": recogniser.name, "images": found, "predictions": told})
        if rejected == found:
            raise SystemExit(1)


def _sorted_out(arguments: list[str]) -> tuple[Any, list[str]]:
    """OUTPUT, where the first argument is one, and the images."""
    from pomona.storage import Location, open_store

    first = Location.parse(arguments[0])
    store = open_store(first)
    if any(store.exists(name) for name in ("models", "features")):
        return first, arguments[1:]
    return None, arguments


def _tell(prediction: Prediction) -> None:
    from pomona.cli.terminal import result

    answer = prediction.answer
    if answer is None:
        reject = prediction.reject
        assert reject is not None
        result(f"{prediction.path}: {reject.reason.replace('_', ' ')} ({reject.message})")
        return
    shown = ", ".join(f"{label} {confidence:.0%}" for label, confidence in answer.top)
    result(f"{prediction.path}: {answer.text}  [{shown}]")
