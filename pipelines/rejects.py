"""Every rejected record, whenever it was found out: when it was parsed, or when it met the stream it pledges for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines import build, snapshots
from pipelines.errors import Damaged
from pipelines.ingest import RejectedRecord, raw_files, rejected_records
from pipelines.lake import Lake
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
    snapshot = snapshots.open_snapshot(settings.snapshots, pointer.snapshot_id)
    raw = raw_files(settings)
    lake = Lake(settings.lake, _no_engine)
    with lake.finding_only():
        built = build.build(lake, raw, Policy.from_json(snapshot.manifest["policy"]), snapshot.as_of)
    pledges = built.tables["pledges"]
    if not pledges.rows:
        return
    rows = lake.table(pledges)
    wrong = rows.filter(pc.equal(rows["outcome"], "other_currency"))
    currencies = dict(zip(wrong["pledge_id"].to_pylist(), wrong["currency"].to_pylist(), strict=True))
    for file in raw:
        if file.entity != "pledges" or not currencies:
            continue
        for name in file.files:
            landed = pq.read_table(file.path(name))
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


def _no_engine() -> Any:
    raise Damaged("The file of pledges that were judged is damaged. Run again: that builds it anew.")
