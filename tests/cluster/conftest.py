from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import pomona

NAME = "grove"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Clusters of a test module's own; the command line finds them too."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def grove(state: Path) -> Iterator[str]:
    """The name of a cluster of two workers with one core each; gone afterwards."""
    done = pomona("cluster", "start", "--name", NAME, "-w", "2", "--cores", "1", "--json")
    try:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["started"]
        yield NAME
    finally:
        pomona("cluster", "remove", NAME)
