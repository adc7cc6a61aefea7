"""The step from ``features`` to ``components`` and ``models/pca/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pomona.errors import TableError
from pomona.ledger import newest_ledger, versions
from pomona.steps.shared import timed
from pomona.storage import open_store

if TYPE_CHECKING:
    from pomona.steps.shared import Run
    from pomona.storage import Location
    from pomona.storage.table import Table

_FOLDER = "models/pca/"


def reduce(run: Run, *, required: bool) -> None:
    """Fit a PCA on the features of one model and write the reduced matrix.

    Nothing is done where the newest components are those of these features.

    Args:
        run: this one; its ledger is filled in.
        required: whether an OUTPUT without features is an error.

    Raises:
        TableError: there are no features.
        ReductionError: they do not allow it.
    """
    from pomona.reduction.job import fit_pca, project
    from pomona.reduction.saving import save_pca

    ledger, settings = run.ledger, run.settings
    ledger.model = ledger.model or model_of_output(run)
    if not required and not run.features.rows():
        run.observer.note("nothing to reduce: no image was embedded")
        return
    wanted = {
        "model": ledger.model,
        "features_version": run.features.version,
        "asked": {"components": settings.components, "variance": settings.variance},
    }
    if _already_reduced(run, wanted):
        run.observer.note("nothing to reduce: the components are those of these features")
        return
    context = run.context()
    run.observer.stage("reduce")
    with timed(ledger, "reduce"):
        pca = fit_pca(
            context,
            run.features,
            ledger.model,
            components=settings.components,
            variance=settings.variance,
        )
        rows = project(context, run.features, run.components, ledger.model, ledger.run, pca)
        about = {**wanted, "run": ledger.run, "rows": rows, "versions": versions("")}
        save_pca(run.store, pca, about, _FOLDER)
    ledger.components = pca.k
    ledger.explained_variance = float(pca.explained_variance_ratio_.sum())
    run.observer.note(
        f"{pca.k} components keep {ledger.explained_variance:.1%} of the variance "
        f"of {len(pca.mean_):,} features"
    )


def model_of_output(run: Run) -> str:
    """The model of the newest run that embedded, or the only one in the table.

    Raises:
        TableError: there are no features, or those of several models.
    """
    return model_of(run.output, run.features)


def model_of(output: Location, features: Table) -> str:
    """Likewise, of an OUTPUT that no run is working on.

    Raises:
        TableError: there are no features, or those of several models.
    """
    found = newest_ledger(open_store(output), step="embed")
    models = features.distinct("model")
    if found is not None and found.get("model") in models:
        return str(found["model"])
    if len(models) == 1:
        return models.pop()
    raise TableError(
        f"{output} has features of {len(models)} models."
        if models
        else f"{output} has no features.",
        "Run `pomona embed INPUT OUTPUT` first.",
    )


def _already_reduced(run: Run, wanted: dict[str, Any]) -> bool:
    from pomona.reduction.saving import load_pca

    if not run.components.exists():
        return False
    try:
        _, manifest = load_pca(run.store, _FOLDER)
    except TableError:
        return False
    if {key: manifest.get(key) for key in wanted} != wanted:
        return False
    run.ledger.components = manifest["k"]
    run.ledger.explained_variance = manifest["explained_variance"]
    return bool(manifest.get("rows") == run.components.rows())
