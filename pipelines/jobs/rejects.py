"""Every rejected record: those rejected by the parser, and pledges in another currency than their stream's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core import durable_files
from pipelines.core.errors import Damaged
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Policy, Settings
from pipelines.lake import plan
from pipelines.lake.derive import Lake
from pipelines.raw.index import RUN_AGAIN, RawFile, RejectedRecord, raw_files, rejected_records
from pipelines.snapshots import manifest


def all_rejected(settings: Settings) -> Iterator[RejectedRecord]:
    """Rejected records of the whole lake: those of each landed file in order, then pledges in a wrong currency."""
    yield from rejected_records(settings)
    yield from _pledges_in_another_currency(settings)


def _pledges_in_another_currency(settings: Settings) -> Iterator[RejectedRecord]:
    """Records of pledges that sql/tables/pledges.sql rejects, as of the current snapshot; nothing before the first one.

    Which currency a stream has is known once it landed, so when they were parsed they had to be accepted.
    """
    pointer = manifest.current(settings.snapshots)
    if pointer is None:
        return
    raw = raw_files(settings)
    if not {"pledges", "live_streams"} <= {file.entity for file in raw if file.accepted}:
        return
    streams = _live_streams(settings, raw)
    ids, currencies = (streams[name].combine_chunks() for name in ("stream_id", "currency"))
    for file in raw:
        for name, facts in file.files.items() if file.entity == "pledges" else ():
            try:
                landed = durable_files.checked_table(file.path(name), facts.sha256)
            except Damaged as error:
                raise Damaged(f"{error} {RUN_AGAIN}") from error
            of_stream = currencies.take(pc.index_in(landed["stream_id"], value_set=ids).combine_chunks())
            is_wrong = pc.fill_null(pc.not_equal(landed["currency"], of_stream), False)
            for row in landed.filter(is_wrong).to_pylist():
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


def _live_streams(settings: Settings, raw: Sequence[RawFile]) -> pa.Table:
    """The streams, as the night judges them, beside it: here is only looked, and what a night has derived may be
    damaged, or of before the last file landed."""
    from pipelines.lake.engines.duckdb import DuckDBEngine

    snapshot = manifest.open_current(settings.snapshots)
    with scratch_folder(settings.home, "rejects") as folder:
        lake = Lake(folder, lambda: DuckDBEngine(settings.memory_limit, settings.threads, folder / "spill"))
        try:
            policy = Policy.from_json(snapshot.manifest["policy"])
            return lake.table(plan.known_streams(lake, plan.arranged(raw), policy, snapshot.as_of))
        finally:
            lake.close()
