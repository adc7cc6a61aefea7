"""What the network is shown and asked. Needs PyTorch, which only the training does."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch: Any = pytest.importorskip("torch")
bridge = importlib.import_module("bridge")
lesson = importlib.import_module("lesson")
network = importlib.import_module("network")
sources = importlib.import_module("sources")
train = importlib.import_module("train")
views = importlib.import_module("views")

NAMES = ["fruits360", "varieties", "grocery", "tiny"]


def _views(folder: Path, count: int, first: int) -> Path:
    """Views of one colour each, the colour being the number of the view."""
    folder.mkdir()
    images = np.empty((count, 112, 112, 3), np.uint8)
    images[:] = np.arange(first, first + count)[:, None, None, None]
    np.save(folder / "images.npy", images)
    np.save(folder / "components.npy", np.arange(first, first + count, dtype="f2")[:, None])
    table = {
        "sources": NAMES,
        "source": [n % 4 for n in range(count)],
        "kind": [None if n % 4 == 3 else f"kind {n % 3}" for n in range(count)],
        "fine": [None if n % 4 == 1 else f"fine {n % 5}" for n in range(count)],
    }
    (folder / "views.json").write_text(json.dumps(table))
    return folder


def test_views_of_two_folders_keep_their_answers(tmp_path: Path) -> None:
    folders = [_views(tmp_path / "one", 40, 10), _views(tmp_path / "two", 60, 60)]
    read = lesson.read_lesson(folders)
    batch = read.batch(200, 64, np.random.default_rng(0))
    taught = batch.taught[:, 0].numpy()
    assert taught.min() < 50 and taught.max() > 60
    # The light changes by 10 % at most, the colour by 4 %.
    shown = batch.pictures.mean((1, 2, 3)).numpy()
    assert np.all(np.abs(shown / taught - 1) < 0.15)
    assert set(batch.kind[batch.source == 3].tolist()) == {-1}
    assert set(batch.fine[batch.source == 1].tolist()) == {-1}
    assert batch.fine[batch.source == 0].min() >= 0
    assert torch.bincount(batch.source).tolist() == [40, 40, 50, 70]


def test_folders_of_other_data_sets_are_refused(tmp_path: Path) -> None:
    folders = [_views(tmp_path / name, 8, 0) for name in ("one", "two")]
    table = json.loads((folders[1] / "views.json").read_text())
    (folders[1] / "views.json").write_text(json.dumps(table | {"sources": NAMES[::-1]}))
    with pytest.raises(ValueError, match="other data sets"):
        lesson.read_lesson(folders)


def test_a_mixed_picture_is_as_much_its_own_as_is_said() -> None:
    pictures = torch.arange(8.0)[:, None, None, None].expand(8, 3, 40, 40).contiguous()
    nothing = torch.zeros(8, dtype=torch.int64)
    batch = lesson.Batch(pictures, nothing, nothing, nothing, torch.zeros(8, 1))
    for seed in range(10):
        mix = lesson.mixed(batch, np.random.default_rng(seed))
        assert 0.15 < mix.own < 0.85
        for number, other in enumerate(mix.other.tolist()):
            own = (mix.pictures[number] == number).float().mean().item()
            foreign = (mix.pictures[number] == other).float().mean().item()
            assert own == pytest.approx(1.0 if other == number else mix.own)
            assert foreign == pytest.approx(1.0 if other == number else 1 - mix.own)


def test_all_processes_mix_the_same_share_of_the_steps() -> None:
    recipe = train.Recipe(mixing=0.3)
    assert sum(recipe.mixes(step) for step in range(1000)) == 300
    assert not any(train.Recipe(mixing=0.0).mixes(step) for step in range(100))


def test_the_bridge_draws_two_worlds_together() -> None:
    torch.manual_seed(0)
    kind = torch.tensor([0, 1, 2, 0, 1, 2])
    filmed = torch.tensor([1, 1, 1, 0, 0, 0])
    features = torch.rand(6, network.DIMENSION, requires_grad=True)
    between = bridge.Bridge(4)
    optimizer = torch.optim.SGD([features], lr=2.0)
    losses = []
    for _ in range(200):
        loss = between(features, kind, filmed)
        losses.append(loss.item())
        optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
            optimizer.step()
    # Nothing is known of the other world at first, and never of the fourth kind.
    assert losses[0] == 0.0
    assert losses[-1] < 0.2 * losses[1]
    assert not between.known[:, 3].any()
    away = torch.nn.functional.normalize(features.detach() - between.centre, dim=1)
    likeness = away[:3] @ away[3:].T
    assert likeness.argmax(1).tolist() == [0, 1, 2]


def test_the_folded_network_computes_the_same() -> None:
    torch.manual_seed(1)
    trained = network.Network(5)
    images = torch.randint(0, 256, (4, 96, 96, 3), dtype=torch.uint8)
    trained.train()
    for _ in range(3):
        trained(images)
    trained.eval()
    with torch.inference_mode():
        wanted, got = trained(images), trained.folded()(images)
    assert wanted.features.abs().max() > 0.01
    torch.testing.assert_close(got.features, wanted.features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.logits, wanted.logits, rtol=1e-4, atol=1e-5)


def _source(name: str, count: int) -> Any:
    marks = [n % 2 == 0 for n in range(count)]
    images = [np.zeros((8, 8, 3), np.uint8)] * count
    held_out = [not mark for mark in marks]
    return sources.Source(
        name, images, ["Apple"] * count, ["a"] * count, marks, held_out, [True] * count
    )


def test_no_view_is_planned_of_a_photograph_held_out() -> None:
    shown = [_source(name, 6) for name in NAMES]
    lines = views.planned(shown, views.MANNERS["second"])
    assert lines and all(shown[line.source].training[line.index] for line in lines)
    counts = np.bincount([line.source for line in lines])
    assert counts.tolist() == [3 * 2, 3 * 3, 3 * 24, 3 * 4]
    assert [line.source for line in lines if line.recoloured] == [1, 1, 1]
    assert not any(line.recoloured for line in views.planned(shown, views.MANNERS["first"]))


def test_turned_colours_leave_grey_grey() -> None:
    pixels = np.repeat(np.arange(0, 256, 5, dtype=np.uint8)[:, None, None], 3, 2)
    red = np.full((1, 1, 3), (200, 20, 20), np.uint8)
    for seed in range(5):
        random = np.random.default_rng(seed)
        turned = np.asarray(views._recoloured(Image.fromarray(pixels), random)).astype(int)
        assert np.abs(turned - pixels).max() <= 1
    other = np.asarray(views._recoloured(Image.fromarray(red), np.random.default_rng(0)))
    assert np.abs(other.astype(int) - red).max() > 20


def test_the_components_are_those_of_scikit_learn() -> None:
    from sklearn.decomposition import PCA

    random = np.random.default_rng(2)
    spread = np.linspace(3.0, 0.1, 300)
    features = (random.normal(size=(3000, 300)) * spread).astype(np.float16)
    found = views.basis(features).components(features).astype(np.float32)
    wanted = PCA(views.COMPONENTS).fit_transform(features.astype(np.float32))
    alike = [abs(np.corrcoef(found[:, n], wanted[:, n])[0, 1]) for n in range(20)]
    assert min(alike) > 0.99
    assert found.var(0).mean() == pytest.approx(1.0, abs=0.05)
    # Half whitened: variances fall as standard deviations did.
    steep = found[:, 0].var() / found[:, 200].var()
    assert steep == pytest.approx(wanted[:, 0].std() / wanted[:, 200].std(), rel=0.02)
