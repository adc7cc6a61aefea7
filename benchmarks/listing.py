"""How much memory and time the listing of a large bucket takes.

    python benchmarks/listing.py [COUNT]

The service (tests/servers/objects.py) makes up COUNT keys; a process of its own lists them into a
manifest, as a run does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.servers.objects import object_server

_LIST = """
import resource, tempfile, time
from pathlib import Path
from pomona.images.listing import SkippedFiles, list_images, open_source
from pomona.images.manifest import Manifest
begin = time.perf_counter()
with tempfile.TemporaryDirectory() as scratch:
    source = open_source("s3://bench/in")
    manifest = Manifest.write(list_images(source, SkippedFiles()), Path(scratch) / "manifest")
    size = (Path(scratch) / "manifest").stat().st_size
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"{manifest.rows:,} keys in {time.perf_counter() - begin:.0f} s, "
      f"{peak:,.0f} MiB at most, {size / 1e6:.0f} MB of manifest")
"""


def main() -> None:
    """Print one line."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with object_server() as server:
        server.fill("bench", "in/Training/Some fruit/", count)
        keys = {"AWS_ACCESS_KEY_ID": "AKIABENCHMARK", "AWS_SECRET_ACCESS_KEY": "none"}
        environment = {**os.environ, **keys, "AWS_ENDPOINT_URL": server.url}
        subprocess.run([sys.executable, "-c", _LIST], env=environment, check=True)


if __name__ == "__main__":
    main()
