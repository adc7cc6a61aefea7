"""OUTPUT folders made directly, without Spark: what a run would leave for some images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from deltalake import write_deltalake

from pomona.ledger import Ledger
from pomona.reduction.principal import PrincipalComponents
from pomona.reduction.saving import save_pca
from pomona.schema import COMPONENTS_TABLE, FEATURES_TABLE, REJECTS_TABLE
from pomona.storage import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MODEL = "net-0123456789ab@96px-fp32"


@dataclass
class Made:
    """What to write.

    Attributes:
        paths: of the images.
        labels: theirs; None for an image without.
        splits: likewise.
        features: float32 [n, d]; by default noise around a middle for each label.
        etags: versions of the images.
        k: components; 0 leaves the reduction out.
        rejects: path, reason and message of each.
        input: INPUT, as the ledger names it.
    """

    paths: list[str]
    labels: Sequence[str | None]
    splits: Sequence[str | None] = ()
    features: NDArray[np.float32] | None = None
    etags: list[str] = field(default_factory=list)
    k: int = 3
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    input: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> Path:
        """Write the tables, the PCA and a ledger; the folder."""
        features = self.features if self.features is not None else self._noise()
        count = len(self.paths)
        splits = list(self.splits) or [None] * count
        common = {
            "path": self.paths,
            "label": self.labels,
            "split": splits,
            "group": [None] * count,
        }
        _write(
            folder / "features",
            {
                **common,
                "etag": self.etags or ["1-2"] * count,
                "width": [100] * count,
                "height": [100] * count,
                "model": [MODEL] * count,
                "features": list(features),
            },
            FEATURES_TABLE,
        )
        _write(
            folder / "rejects",
            {
                "path": [path for path, _, _ in self.rejects],
                "etag": ["1-2"] * len(self.rejects),
                "stage": ["decode"] * len(self.rejects),
                "reason": [reason for _, reason, _ in self.rejects],
                "message": [message for _, _, message in self.rejects],
                "run": ["1"] * len(self.rejects),
            },
            REJECTS_TABLE,
        )
        pca = None
        if self.k:
            pca = _fitted(features, self.k)
            reduced = list(pca.transform(features))
            _write(folder / "components", {**common, "components": reduced}, COMPONENTS_TABLE)
            save_pca(open_store(folder), pca, {}, "models/pca/")
        ledger = Ledger("20260101T000000Z-0000", self.input, str(folder), ["embed", "report"])
        ledger.status, ledger.model, ledger.ended = "done", MODEL, "2026-01-01T00:00:10Z"
        ledger.listed, ledger.embedded, ledger.rejected = (
            count + len(self.rejects),
            count,
            len(self.rejects),
        )
        ledger.seconds |= {
            "list": 0.5,
            "embed_wall": 4.0,
            "decode": 2.0,
            "embed": 5.0,
            "total": 6.0,
        }
        ledger.layout, ledger.verdict = "{label}/{name}", "embed took most of the cores' time"
        ledger.settings, ledger.choices = self.settings, ["one engine, since there is one"]
        ledger.components = pca.k if pca else None
        ledger.save(open_store(folder))
        return folder

    def _noise(self) -> NDArray[np.float32]:
        rng = np.random.default_rng(0)
        names = sorted({label or "" for label in self.labels})
        middles = {name: rng.normal(scale=3, size=12) for name in names}
        rows = [middles[label or ""] + rng.normal(size=12) for label in self.labels]
        return np.asarray(rows, np.float32).reshape(len(rows), 12)


def _write(folder: Path, columns: dict[str, Any], schema: pa.Schema) -> None:
    write_deltalake(str(folder), pa.Table.from_pydict(columns, schema))


def _fitted(features: NDArray[np.float32], k: int) -> PrincipalComponents:
    mean = features.mean(axis=0, dtype=np.float64)
    _, spread, axes = np.linalg.svd(features - mean, full_matrices=False)
    variances = spread**2 / (len(features) - 1)
    variances = variances[variances > 1e-12 * variances[0]]
    k = min(k, len(variances))
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return PrincipalComponents(
        mean_=mean,
        components_=axes[:k],
        explained_variance_=variances[:k],
        explained_variance_ratio_=variances[:k] / variances.sum(),
        spectrum_=variances,
        n_samples_=len(features),
    )
