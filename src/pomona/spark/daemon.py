"""What forks Spark's Python workers here: PySpark's own daemon, on the installed PySpark.

Spark puts a zip of PySpark first on its workers' path. Nothing in a zip is ever cached, so that
every start compiles it anew, 0.7 s of a core against 0.15 s for the installed package, which is
the same one (the driver's) or was checked to be.
"""

from __future__ import annotations

import sys


def prefer_installed() -> None:
    """Take PySpark's zips off the path, if PySpark can be found without them."""
    from importlib.machinery import PathFinder

    rest = [entry for entry in sys.path if not entry.endswith(("pyspark.zip", "-src.zip"))]
    if all(PathFinder.find_spec(name, rest) for name in ("pyspark", "py4j")):
        sys.path[:] = rest


if __name__ == "__main__":
    prefer_installed()
    from pyspark.daemon import manager

    manager()
