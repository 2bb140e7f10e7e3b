"""Every rejected record: those rejected by the parser, and pledges in another currency than their stream's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.errors import Damaged
from pipelines.core.scratch import scratch_folder
from pipelines.core.settings import Policy, Settings
from pipelines.jobs import last_run
from pipelines.lake import plan
from pipelines.lake.derive import Lake
from pipelines.raw.catalog import raw_files
from pipelines.raw.raw_file import RUN_AGAIN, RawFile
from pipelines.raw.rejected_records import RejectedRecord, rejected_records
from pipelines.snapshots import manifest
from pipelines.snapshots.gates import OTHER_CURRENCY


def all_rejected(settings: Settings) -> Iterator[RejectedRecord]:
    """Rejected records of the whole lake: those of each landed file in order, then pledges in a wrong currency."""
    yield from rejected_records(settings)
    yield from _pledges_in_another_currency(settings)


def _pledges_in_another_currency(settings: Settings) -> Iterator[RejectedRecord]:
    """Records of pledges that sql/tables/pledges.sql rejects, as of the current snapshot or of a later run that was
    refused; nothing before the first of them.

    Which currency a stream has is known once it landed, so when they were parsed they had to be accepted.
    """
    raw: Sequence[RawFile] = raw_files(settings)
    if not {"pledges", "live_streams"} <= {file.entity for file in raw if file.accepted}:
        return
    streams = _live_streams(settings, raw)
    if streams is None:
        return
    raw = [file for file in raw if file.entity in ("pledges", "erasures")]
    erased = [_whole(file, name)["user_id"] for file in raw if file.entity == "erasures" for name in file.files]
    users = pa.chunked_array([chunk for column in erased for chunk in column.chunks], pa.string())
    ids, currencies = (streams[name].combine_chunks() for name in ("stream_id", "currency"))
    for file in raw:
        for name in file.files if file.entity == "pledges" else ():
            landed = _whole(file, name)
            landed = landed.filter(pc.invert(pc.is_in(landed["user_id"], value_set=users)))  # they never landed
            of_stream = currencies.take(pc.index_in(landed["stream_id"], value_set=ids).combine_chunks())
            is_wrong = pc.fill_null(pc.not_equal(landed["currency"], of_stream), False)
            for row in landed.filter(is_wrong).to_pylist():
                line = row.pop("line")
                yield RejectedRecord(
                    entity="pledges",
                    file=file.landed_name,
                    line=line,
                    field="currency",
                    reason=OTHER_CURRENCY,
                    text=json.dumps(row, default=_plain, ensure_ascii=False),
                )


def _whole(file: RawFile, name: str) -> pa.Table:
    try:
        return file.table(name)
    except Damaged as error:
        raise Damaged(f"{error} {RUN_AGAIN}") from error


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value))


def _live_streams(settings: Settings, raw: Sequence[RawFile]) -> pa.Table | None:
    """The streams, as the last night judged them, beside it: here is only looked, and what a night has derived may be
    damaged, or of before the last file landed. None before the first night."""
    from pipelines.lake.engines.duckdb import DuckDBEngine

    pointer = manifest.current(settings.snapshots)
    refused = last_run.read(settings.lake)
    if refused is None or refused.outcome != "refused":
        refused = None
    as_ofs = [pointer.as_of] if pointer else []
    as_ofs += [date.fromisoformat(refused.as_of)] if refused else []
    if not as_ofs:
        return None
    policy = settings.policy
    if pointer:
        snapshot = manifest.open_snapshot(settings.snapshots, pointer.snapshot_id, pointer.manifest_sha256)
        policy = Policy.from_json(snapshot.manifest["policy"])
    with scratch_folder(settings.home, "rejects") as folder:
        lake = Lake(folder, lambda: DuckDBEngine(settings.memory_limit, settings.threads, folder / "spill"))
        try:
            return lake.table(plan.known_streams(lake, plan.arranged(raw), policy, max(as_ofs)))
        finally:
            lake.close()
