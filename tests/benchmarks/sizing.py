"""What a night costs a cluster, a session: bytes left and shuffled, at one size, and checked at smaller ones.

Bytes a session are taken from the largest night; what they foretell for a tenth and a hundredth of it is compared with
what those nights were measured at. What they foretell for a billion sessions is then arithmetic, and this is its check.

Statements over sessions are spread, however few, and joined as at a size at which no day can be sent to everybody: only
calendars are. Shuffle partitions grow with the night, so that each holds as much. What Spark shuffles is
told by its own event log.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.options import Options
from tests.benchmarks.report import Row, Section
from tests.benchmarks.spark import can_run, run_night
from tests.benchmarks.workload import Workload, prepare

# What grows with the sessions. Follows, rentals and pledges grow with the people, and are a small part of a platform.
MODELS = ("session_keys", "session_repeats", "session_outcomes", "viewer_days", "creator_reach")
SHARES = (100, 10, 1)  # of the largest night; the last one is what is measured, the others are what it is checked at

NIGHT, BEFORE = "shuffled", "shuffled, of the days before"

_SESSIONS_A_PARTITION = 20_000
_COLLECTED_A_SESSION = 4  # bytes; what reads less does not grow with the sessions, and is not spread
_BILLION = 10**9
_DAYS_BEFORE = {"creator_reach": 90, "session_repeats": 180}  # that a night reads at the default settings
_LEAST_BYTES = 0.1  # a session: what is less is not shown


def measure(options: Options, workload: Workload) -> Section:
    """Bytes a session at the full size, what they foretell for the smaller ones, and what was measured there."""
    title = "What a night costs a cluster, a session"
    if not can_run():
        return Section("sizing", title, "Not measured: Java, pyspark and sqlglot are needed.", [])
    found: dict[int, dict[tuple[str, str], float]] = {}
    for share in SHARES:
        sessions = max(1000, workload.sessions // share)
        sized = workload if share == 1 else prepare(options, workload.folder.parent, sessions)
        found[sessions] = _a_session(sized, options.spark_memory)
        if share != 1:
            sized.discard(options)
    largest = found[workload.sessions]
    rows = []
    for key, per_session in largest.items():
        what, of = key
        if per_session < _LEAST_BYTES or of not in ("landed", "raw", *MODELS):
            continue
        checks = "; ".join(
            f"at {sessions:,}: {each.get(key, 0.0):.3g}, {100 * (each.get(key, 0.0) / per_session - 1):+.1f} %"
            for sessions, each in found.items()
            if sessions != workload.sessions
        )
        rows.append(
            Row(what, of, (per_session,), unit="B a session", note=f"{checks}; {_at_a_billion(key, per_session)}")
        )
    says = (
        f"Bytes a session of a night of {workload.sessions:,} after {workload.days} days of as many; how far smaller "
        "nights are from them; and what they come to with 10⁹ sessions a day."
    )
    facts = {str(n): [[*key, value] for key, value in each.items()] for n, each in found.items()}
    return Section("sizing", title, says, rows, facts)


def _a_session(workload: Workload, memory: str) -> dict[tuple[str, str], float]:
    """(what, of which model) -> bytes a session; of the days before: of each of their sessions."""
    log = workload.folder / "events"
    run_night(workload, memory, _as_on_a_cluster(workload.sessions, log))
    bytes_of = {("on disk", name): size / workload.sessions for name, size in stored(workload).items()}
    for (what, name), size in shuffled(log, workload.sessions).items():
        of = workload.sessions * (workload.days if what == BEFORE else 1)
        bytes_of[what, name] = size / of
    shutil.rmtree(log)
    return dict(sorted(bytes_of.items()))


def _as_on_a_cluster(sessions: int, log: Path) -> dict[str, str]:
    shutil.rmtree(log, ignore_errors=True)
    log.mkdir()
    return {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        "spark.eventLog.dir": log.as_uri(),
        "spark.mostwatched.collectedBytes": str(_COLLECTED_A_SESSION * sessions),
        "spark.sql.autoBroadcastJoinThreshold": "8KB",
        "spark.sql.adaptive.autoBroadcastJoinThreshold": "8KB",
        "spark.sql.adaptive.coalescePartitions.enabled": "false",
        "spark.sql.shuffle.partitions": str(max(2, sessions // _SESSIONS_A_PARTITION)),
    }


def stored(workload: Workload) -> dict[str, int]:
    """Bytes of the night's own day in the lake after it: raw, and the models that grow with the sessions."""
    day = workload.night_file.stem
    lake = workload.after / "lake"
    raw = sum(path.stat().st_size for path in (lake / "raw" / "viewing_sessions").rglob(f"{day}.parquet"))
    landed = workload.night_file.stat().st_size
    of_models = {
        model: sum(path.stat().st_size for path in (lake / model / f"day={day}").glob("*.parquet")) for model in MODELS
    }
    return {"landed": landed, "raw": raw, **of_models}


def shuffled(log: Path, sessions: int) -> Mapping[tuple[str, str], int]:
    """(what, model) -> bytes that a run wrote for its shuffles, told apart by what they are made of.

    A stage that reads many more records than the night has sessions reads the days before: of the night's own day, and
    of the one before from which sessions go on into it, no model reads more than twice as many.
    """
    model_of: dict[int, str] = {}
    records: Counter[int] = Counter()
    written: Counter[int] = Counter()
    for path in log.iterdir():
        for line in path.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerStageSubmitted":
                properties = event.get("Properties") or {}
                model_of[event["Stage Info"]["Stage ID"]] = properties.get("spark.job.description", "")
            elif event["Event"] == "SparkListenerTaskEnd" and (metrics := event.get("Task Metrics")):
                records[event["Stage ID"]] += metrics["Input Metrics"]["Records Read"]
                written[event["Stage ID"]] += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
    found: Counter[tuple[str, str]] = Counter()
    for stage, name in model_of.items():
        if name:
            found[BEFORE if records[stage] > 3 * sessions else NIGHT, name] += written[stage]
    return found


def _at_a_billion(key: tuple[str, str], per_session: float) -> str:
    what, of = key
    days = _DAYS_BEFORE.get(of, 1) if what == BEFORE else 1
    return f"at 10⁹ a day {per_session * days * _BILLION / 1e9:,.3g} GB" + (f", {days} days" if days > 1 else "")
