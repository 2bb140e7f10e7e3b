"""Ingest a landing folder into a home and do nothing else: `python -m tests.benchmarks.ingest_once HOME LANDING`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pipelines.core.settings import load
from pipelines.raw.ingest import ingest


def main(home: Path, landing: Path) -> None:
    """Ingest, and print the counts and the seconds without the start of the process."""
    started = time.perf_counter()
    report = ingest(load(home), [landing])
    seconds = time.perf_counter() - started
    print(json.dumps({"accepted": report.new_accepted, "rejected": report.new_rejected, "seconds": seconds}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
