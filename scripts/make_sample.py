"""Make data/sample: two months of real flights as viewing sessions, and a small made-up platform around them.

    .venv/bin/python scripts/make_sample.py ../shared/data/flights/landing

The sessions and the airports are copied as they are. All else is made by pipelines/landing/synthetic/records.py with
airports as creators and aircraft as users, all of it before 2013-07-01, and is the same on every machine.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sys
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

from pipelines.landing.synthetic import records

SAMPLE = Path(__file__).parent.parent / "data" / "sample"
SESSIONS = ("viewing_sessions/2013-05.ndjson.gz", "viewing_sessions/2013-06.ndjson.gz")
AIRPORTS = "creators/airports.ndjson.gz"
MONTH = "2013-06"  # of everything that is made up
SEED = 2013
PROFILES = 25  # airports with a made-up photo and expertise
# Has no flight, so that erasing it leaves the real ranking as the flights make it.
ERASED_USER = "N00000"


def main(flights: Path) -> None:
    """Write the sample from the flights' landing folder."""
    for name in (*SESSIONS, AIRPORTS):
        target = SAMPLE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(flights / name, target)
    cast = _cast(_read(SAMPLE / SESSIONS[-1]))
    made: dict[str, list[records.Record]] = defaultdict(list)
    first_day_streams = []
    for entity, day, record in records.stream_records(cast):
        if entity == "lls_streams" and day == 0:
            first_day_streams.append(record)
        else:
            made[entity].append(record)
    made["creators"] = _profiles(cast, _read(SAMPLE / AIRPORTS))
    _add_an_erased_user(made)
    answer = json.dumps({"streams": first_day_streams}, indent=1)
    _write("lls_streams/2013-06-01.json", answer + "\n")
    _write_csv(f"follows/{MONTH}.csv", made.pop("follows"))
    for entity, landed in made.items():
        landed.sort(key=lambda record: str(record.get("updatedAt", record.get("updated", ""))))
        _write(f"{entity}/{MONTH}.ndjson", "".join(_line(record) for record in landed))


def _cast(sessions: list[records.Record]) -> records.Cast:
    airports = _by_frequency(sessions, "creatorId")
    aircraft = _by_frequency(sessions, "viewerId")[:300]
    return records.Cast(
        seed=SEED,
        first_day=date(2013, 6, 1),
        days=30,
        creators=len(airports),
        viewers=len(aircraft),
        streams=20,
        scheduled=12,
        creator_id=airports.__getitem__,
        viewer_id=aircraft.__getitem__,
        stream_id=lambda stream: f"51b2c0de{stream:016x}",
    )


def _by_frequency(sessions: list[records.Record], field: str) -> list[str]:
    counts = Counter(str(session[field]) for session in sessions if session.get(field) is not None)
    return sorted(counts, key=lambda name: (-counts[name], name))


def _profiles(cast: records.Cast, airports: list[records.Record]) -> list[records.Record]:
    """The busiest airports again, later, with what the real data does not have."""
    real = {airport["_id"]: airport for airport in airports}
    profiles = []
    for creator in range(PROFILES):
        if (airport := real.get(cast.creator_id(creator))) is not None:
            made_up = records.creator_profile(cast, creator)
            added = {key: made_up[key] for key in ("availabilityStatus", "profilePhoto", "expertise")}
            profiles.append(airport | added | {"status": "active", "updatedAt": "2013-06-20T12:00:00.000Z"})
    return profiles


def _add_an_erased_user(made: dict[str, list[records.Record]]) -> None:
    pledge = next(record for record in made["pledges"] if record["status"] == "captured")
    made["pledges"].append(pledge | {"pledgeId": "91ed6e000000000000000000", "userId": ERASED_USER})
    followed = "2013-06-11T08:00:00.000Z"
    follow = {"userId": ERASED_USER, "creatorId": "ORD", "followedAt": followed, "updatedAt": followed}
    made["follows"].append(follow)
    made["erasures"].append({"userId": ERASED_USER, "erasedAt": "2013-06-25T09:30:00.000Z"})


def _read(path: Path) -> list[records.Record]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _line(record: records.Record) -> str:
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False) + "\n"


def _write(name: str, text: str) -> None:
    path = SAMPLE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _write_csv(name: str, rows: list[records.Record]) -> None:
    path = SAMPLE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["userId", "creatorId", "followedAt", "deleted", "updatedAt"])
        for row in sorted(rows, key=lambda row: str(row["updatedAt"])):
            deleted = "true" if row.get("deleted") else "false"
            writer.writerow([row["userId"], row["creatorId"], row["followedAt"], deleted, row["updatedAt"]])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
