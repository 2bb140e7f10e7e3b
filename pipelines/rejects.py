"""Every rejected record, whenever it was found out: when it was parsed, or when it met the stream it pledges for."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import build, snapshots, store
from pipelines.lake import Lake
from pipelines.raw import RawFile, RejectedRecord, raw_files, rejected_records
from pipelines.settings import Policy, Settings


def all_rejected(settings: Settings) -> Iterator[RejectedRecord]:
    """Rejected records of the whole lake: those of each landed file in order, then pledges in a wrong currency."""
    yield from rejected_records(settings)
    yield from _pledges_in_another_currency(settings)


def _pledges_in_another_currency(settings: Settings) -> Iterator[RejectedRecord]:
    """Pledges that sql/pledges.sql rejects, as of the current snapshot; nothing before the first one.

    Which currency a stream has is known once it landed, so when they were parsed they had to be accepted.
    """
    pointer = snapshots.current(settings.snapshots)
    if pointer is None:
        return
    raw = raw_files(settings)
    if not {"pledges", "live_streams"} <= {file.entity for file in raw if file.accepted}:
        return
    rows = _judged_pledges(settings, raw)
    wrong = rows.filter(pc.equal(rows["outcome"], "other_currency"))
    currencies = dict(zip(wrong["pledge_id"].to_pylist(), wrong["currency"].to_pylist(), strict=True))
    for file in raw:
        if file.entity != "pledges" or not currencies:
            continue
        for name, facts in file.files.items():
            landed = store.checked_table(file.path(name), facts.sha256)
            landed = landed.filter(pc.is_in(landed["pledge_id"], value_set=wrong["pledge_id"].combine_chunks()))
            for row in landed.to_pylist():
                if row["currency"] == currencies[row["pledge_id"]]:
                    line = row.pop("line")
                    yield RejectedRecord(
                        entity="pledges",
                        file=file.landed_name,
                        line=line,
                        field="currency",
                        reason="not the currency of the stream",
                        text=json.dumps(row, default=_plain, ensure_ascii=False),
                    )


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value))


def _judged_pledges(settings: Settings, raw: Sequence[RawFile]) -> pa.Table:
    """Judge the pledges of the lake as the night does, beside it: here is only looked, and what a night has derived
    may be damaged, or of before the last file landed."""
    from pipelines.engines.duckdb import DuckDBEngine

    snapshot = snapshots.open_current(settings.snapshots)
    with tempfile.TemporaryDirectory(prefix="mostwatched-") as folder:
        scratch = Path(folder)
        lake = Lake(scratch, lambda: DuckDBEngine(settings.memory_limit, settings.threads, scratch / "spill"))
        try:
            policy = Policy.from_json(snapshot.manifest["policy"])
            return lake.table(build.judged_pledges(lake, raw, policy, snapshot.as_of)[1])
        finally:
            lake.close()
