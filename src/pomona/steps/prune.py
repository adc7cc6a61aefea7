"""Removing the rows of images that are gone from INPUT."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pomona.images.manifest import Manifest
    from pomona.steps.shared import Run


def prune(run: Run, manifest: Manifest) -> int:
    """Remove the rows of images that INPUT does not list, whatever their model.

    Args:
        run: this one; its ledger counts the rows of both tables.
        manifest: what INPUT lists.

    Returns:
        Rows removed from ``features``.
    """
    from pomona.embedding.known import PathSet

    listed = PathSet(manifest)
    removed = [0, 0]
    for index, table in enumerate((run.features, run.rejects)):
        added, dropped = [], []
        for file in table.files():
            kept = file.rows - int(sum(listed.lacks(table.read(file.path, ["path"])).to_pylist()))
            if kept == file.rows:
                continue
            dropped.append(file.path)
            removed[index] += file.rows - kept
            if kept:
                copy = table.without(file.path, listed.lacks)
                added += [copy] if copy else []
        table.commit(added, removed=dropped)
    run.ledger.pruned = sum(removed)
    return removed[0]
