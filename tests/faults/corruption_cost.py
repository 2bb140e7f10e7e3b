"""What checking costs a night: `python -m faults.corruption_cost FOLDER [SESSIONS A NIGHT]`.

Generates ten nights, runs nine, and the tenth several times: as it is, with the CPU that its checks take, and without
them. Prints seconds of CPU and of wall, medians of three in turn. Checks are left out in here alone.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.core import durable_files
from pipelines.core.settings import Settings
from pipelines.jobs import nightly
from pipelines.lake import derive
from pipelines.snapshots.manifest import Snapshot

AS_OF = date(2026, 1, 31)
TIMES = 3


def measured(folder: Path, sessions: int) -> dict[str, float]:
    """Median seconds of the tenth night: wall and CPU, checked and unchecked."""
    from pipelines.landing.synthetic import generate

    landing, home = folder / "landing", folder / "home"
    generate(landing, days=10, sessions_per_day=sessions, seed=1, as_of=AS_OF)
    (last,) = landing.glob(f"viewing_sessions/*{AS_OF - timedelta(days=1)}*")
    last.rename(folder / last.name)
    _night(home, landing, AS_OF - timedelta(days=1))
    (folder / last.name).rename(last)
    found: dict[str, list[float]] = {}
    for _ in range(TIMES):
        for kind in ("checked", "unchecked"):
            copy = folder / "copy"
            shutil.copytree(home, copy)
            command = [sys.executable, "-m", "faults.corruption_cost", str(copy), kind, str(landing)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            for name, seconds in json.loads(done.stdout).items():
                found.setdefault(f"{kind} {name}", []).append(seconds)
            shutil.rmtree(copy)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _night(home: Path, landing: Path, as_of: date) -> None:
    nightly.run(Settings(home=home), as_of, [landing], accept_rejects=True, allow_incomplete=True)


def _without_checks() -> list[float]:
    """Nothing is read again; what is written is still hashed, as it must be to be named and listed."""

    def unchecked(self: Any) -> list[str]:
        del self
        return []

    durable_files.verify = lambda path, sha256: None  # type: ignore[assignment]
    durable_files.checked_bytes = lambda path, sha256: path.read_bytes()  # type: ignore[assignment]
    derive._problem = lambda stored: None
    Snapshot.damage = unchecked  # type: ignore[method-assign]
    return []


def _with_timed_checks() -> list[float]:
    """Have every check note the CPU seconds that it takes, whatever else the machine does."""
    spent: list[float] = []

    def timed(check: Callable[..., Any]) -> Callable[..., Any]:
        def timing(*arguments: Any) -> Any:
            started = time.thread_time()
            try:
                return check(*arguments)
            finally:
                spent.append(time.thread_time() - started)

        return timing

    durable_files.verify = timed(durable_files.verify)
    durable_files.checked_bytes = timed(durable_files.checked_bytes)
    durable_files.verify_checksum = timed(durable_files.verify_checksum)
    return spent


def main() -> None:
    """Measure, or be one of the nights that are measured."""
    if len(sys.argv) == 4:
        spent = _with_timed_checks() if sys.argv[2] == "checked" else _without_checks()
        wall, cpu = time.perf_counter(), time.process_time()
        _night(Path(sys.argv[1]), Path(sys.argv[3]), AS_OF)
        taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "checks": sum(spent)}
        print(json.dumps(taken))
    else:
        print(json.dumps(measured(Path(sys.argv[1]), int(sys.argv[2]))))


if __name__ == "__main__":
    main()
