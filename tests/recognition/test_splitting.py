from collections import Counter

import numpy as np
import pytest

from pomona.recognition.splitting import (
    MARGIN,
    Role,
    Split,
    Survey,
    frame_of,
    plan_split,
)

Rows = list[tuple[str, str | None, str | None, str | None]]


def _plan(rows: Rows) -> tuple[Split, np.ndarray]:
    half = len(rows) // 2
    surveys = [Survey().see(*zip(*part, strict=True)) for part in (rows[:half], rows[half:])]
    split = plan_split(surveys[0].merge(surveys[1]))
    return split, split.roles(*zip(*rows, strict=True))


def _turn(label: str, prefix: str, frames: int, split: str | None = None) -> Rows:
    return [(f"x/{label}/{prefix}{n}_100.jpg", label, split, None) for n in range(frames)]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Training/Apple/12_100.jpg", ("", 12)),
        ("Training/Apple/r_12_100.jpg", ("r_", 12)),
        ("Training/Apple/r0_12_100.jpg", ("r0_", 12)),
        ("Training/Apple/3_r_12_100.jpg", ("3_r_", 12)),
        ("train/Golden-Delicious_001.jpg", ("Golden-Delicious_", 1)),
        ("DCIM/IMG_20412.JPG", ("IMG_", 20412)),
        ("a/100.jpg", ("", 100)),
        ("a/apple.jpg", None),
        ("a/9f86d081884c7d65.jpg", None),
    ],
)
def test_frame_of(path: str, found: tuple[str, int] | None) -> None:
    assert frame_of(path) == found


def test_held_out_frames_are_never_within_the_margin_of_a_training_frame() -> None:
    rows = _turn("Apple", "", 328) + _turn("Apple", "r_", 328) + _turn("Pear", "", 164)
    split, roles = _plan(rows)
    for label, prefix, around in (("Apple", "", 328), ("Apple", "r_", 328), ("Pear", "", 164)):
        mine = [
            (int(frame_of(path)[1]), role)  # type: ignore[index]
            for (path, name, _, _), role in zip(rows, roles, strict=True)
            if name == label and frame_of(path)[0] == prefix  # type: ignore[index]
        ]
        training = np.array([frame for frame, role in mine if role == Role.TRAIN])
        for held in (Role.VALIDATE, Role.TEST):
            frames = np.array([frame for frame, role in mine if role == held])
            assert 0.12 * around < len(frames) < 0.18 * around
            apart = np.abs(frames[:, None] - training[None])
            assert np.minimum(apart, around - apart).min() > MARGIN
    assert "runs of frames" in split.how


def test_the_split_of_input_tests_and_a_part_of_the_rest_validates() -> None:
    rows = _turn("Apple", "", 100, "Training") + _turn("Apple", "", 50, "Test")
    _, roles = _plan(rows)
    assert set(roles[100:]) == {Role.TEST}
    assert Role.TEST not in roles[:100]
    assert 10 <= (roles[:100] == Role.VALIDATE).sum() <= 20


def test_a_validation_split_alone_is_the_test() -> None:
    rows = _turn("Apple", "", 100, "train") + _turn("Apple", "", 50, "val")
    _, roles = _plan(rows)
    assert set(roles[100:]) == {Role.TEST}


def test_validation_beside_test_validates() -> None:
    rows = _turn("A", "", 99, "train") + _turn("A", "", 20, "val") + _turn("A", "", 20, "test")
    _, roles = _plan(rows)
    assert set(roles[:99]) == {Role.TRAIN}
    assert set(roles[99:119]) == {Role.VALIDATE}
    assert set(roles[119:]) == {Role.TEST}


def test_groups_stay_whole_over_all_labels() -> None:
    rows: Rows = [
        (f"{label}/{group}/{n}_100.jpg", label, None, group)
        for label in ("Apple", "Cherry")
        for group in [f"{label[0]}{g}" for g in range(10)] + ["shared"]
        for n in range(30)
    ]
    split, roles = _plan(rows)
    by_group: dict[str | None, set[int]] = {}
    for (_, _, _, group), role in zip(rows, roles, strict=True):
        by_group.setdefault(group, set()).add(int(role))
    assert all(len(found) == 1 for found in by_group.values())
    for label in ("Apple", "Cherry"):
        mine = [role for row, role in zip(rows, roles, strict=True) if row[1] == label]
        assert {Role.TRAIN, Role.VALIDATE, Role.TEST} == set(mine)
    assert "whole groups" in split.how


def test_a_group_above_the_labels_does_not_hold_labels_out() -> None:
    rows: Rows = [
        (f"{species}/{variety}/{n}_100.jpg", variety, None, species)
        for species in ("Apple", "Cherry")
        for variety in (f"{species} 1", f"{species} 2")
        for n in range(100)
    ]
    _, roles = _plan(rows)
    for variety in {row[1] for row in rows}:
        mine = Counter(
            int(role) for row, role in zip(rows, roles, strict=True) if row[1] == variety
        )
        assert mine[Role.TRAIN] > 50


def test_short_runs_go_whole_and_leave_one_to_train() -> None:
    rows: Rows = [
        (f"Kiwi/{obj}_{n}_100.jpg", "Kiwi", None, None) for obj in range(8) for n in range(5)
    ]
    _, roles = _plan(rows)
    for at in range(0, 40, 5):
        assert len(set(roles[at : at + 5])) == 1
    assert {Role.TRAIN, Role.VALIDATE, Role.TEST} == set(roles)
    _, one = _plan(rows[:5])
    assert set(one) == {Role.TRAIN}


def test_names_without_numbers_are_dealt_out_by_path_and_unlabelled_images_unused() -> None:
    letters = "abcdefghij"
    rows: Rows = [
        (f"k/{a}{b}{c}.jpg", "Kiwi", None, None) for a in letters for b in letters for c in letters
    ]
    rows.append(("loose.jpg", None, None, None))
    _, roles = _plan(rows)
    counts = Counter(int(role) for role in roles[:-1])
    assert 110 < counts[Role.VALIDATE] < 190
    assert 110 < counts[Role.TEST] < 190
    assert roles[-1] == Role.UNUSED
