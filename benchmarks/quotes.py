"""Quotes against runs: what `pomona cloud quote` says of INPUT, and what a run then takes.

    python -m benchmarks.quotes INPUT                                     here, on all cores
    python -m benchmarks.quotes INPUT --master spark://HOST:7077 --cores 2   on two workers here

Both are of the whole chain, `pomona run`, into a fresh OUTPUT. With --master, --cores is what its
workers have in all; they have to be on this machine, whose speed the quote measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from pomona.spark.session import usable_cores


def pomona(*words: str, **environment: str) -> dict[str, Any]:
    """Run the command with ``--json``; its object."""
    done = subprocess.run(
        [sys.executable, "-m", "pomona", *words, "--json"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | environment,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("--master")
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    master = asked.master or f"local[{asked.cores}]"
    print("| master | quoted s | took s | took / quoted | embed | after |")
    print("|---|---:|---:|---:|---:|---:|")
    for _ in range(asked.rounds):
        quote = pomona("cloud", "quote", asked.source, "--cores", str(asked.cores))["here"]
        with tempfile.TemporaryDirectory() as folder:
            ran = pomona(
                "run", asked.source, f"{folder}/out", "--master", master, "--quiet",
                POMONA_QUOTE=quote["setting"],
            )  # fmt: skip
        told, seconds = ran["quote"], ran["seconds"]
        after = sum(seconds[stage] for stage in ("reduce", "train", "evaluate"))
        print(
            f"| {master} | {told['seconds']:,.0f} | {told['actual_seconds']:,.0f} | "
            f"{told['actual_to_quoted']:.2f} | "
            f"{seconds['embed_wall']:,.0f} of {quote['parts']['embed']:,.0f} | "
            f"{after:,.0f} of {quote['parts']['after']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
