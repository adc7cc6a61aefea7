"""What the recogniser's sections show as pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pomona.recognition.answering import Naming
from pomona.recognition.calibration import Calibration
from pomona.recognition.duplicates import BINS, Duplicates, Pair
from pomona.recognition.evaluation import Tally, told
from pomona.recognition.saving import EVALUATION, FOLDER
from pomona.recognition.testing import told_duplicates
from pomona.report.recogniser import recogniser_facts
from pomona.report.templating import environment
from pomona.storage import open_store

_NAMING = Naming(("Kiwi", "Lime"), ("kiwi", "lime"), Calibration(1.0, 0.8, 0.8, 10.0, 0.02))
_PATHS = ["Kiwi/right.jpg", "Kiwi/wrong.jpg", "Lime/right.jpg"]


def _facts(folder: Path) -> dict[str, object]:
    probabilities = np.array([[0.9, 0.1], [0.05, 0.95], [0.2, 0.8]], np.float32)
    kinds = {"duplicate": ["near", "new", "new"], "split": [""] * 3, "group": [""] * 3}
    tally = Tally.of(_NAMING, probabilities, None, np.array([0, 0, 1]), _PATHS, kinds)
    near = frozenset({"Kiwi/right.jpg"})
    pairs = (Pair(0.97, "Kiwi/right.jpg", "Kiwi/trained.jpg"),)
    seen = Duplicates(near, frozenset(), 3, np.zeros(BINS, np.int64), pairs)
    return {
        **told(tally, _NAMING),
        "duplicates": told_duplicates(seen, tally),
        "classes_trained": 2,
        "split": "by hand",
        "leave_out": None,
    }


def test_both_sides_of_a_mistake_and_of_a_duplicate_are_shown(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.write(FOLDER + EVALUATION, json.dumps(_facts(tmp_path)).encode())
    found = recogniser_facts(store)
    assert found is not None
    assert found["pictured"] == [
        "Kiwi/wrong.jpg",
        "Lime/right.jpg",
        "Kiwi/right.jpg",
        "Kiwi/trained.jpg",
    ]
    shown: list[str] = []

    def picture(path: str, text: str) -> str:
        shown.append(path)
        return f"[{text}]"

    page = (
        environment().get_template("recogniser.html.j2").render(recogniser=found, picture=picture)
    )
    assert set(shown) == set(found["pictured"])
    words = " ".join(page.split())
    assert "<strong><bdi>Kiwi</bdi></strong> called <strong><bdi>Lime</bdi></strong>" in words
    assert "called <strong><bdi>Lime</bdi></strong> with 95.0% confidence" in words
    assert "1 of the 3 test photographs is among the training photographs" in words
    assert "The figure above flatters" in words


def test_labels_of_any_kind_are_shown_as_text(tmp_path: Path) -> None:
    hostile = "<b>\u202eK\x07"
    facts = json.loads(json.dumps(_facts(tmp_path)).replace("Kiwi/", "x/"))
    facts = json.loads(json.dumps(facts).replace('"Kiwi"', json.dumps(hostile)))
    store = open_store(tmp_path)
    store.write(FOLDER + EVALUATION, json.dumps(facts).encode())
    page = (
        environment().get_template("recogniser.html.j2").render(recogniser=recogniser_facts(store))
    )
    assert "<bdi>&lt;b&gt;\\u202eK\\x07</bdi>" in page
    assert hostile not in page
    assert not set(page) & {"\u202e", "\x07"}
