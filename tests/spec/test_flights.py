"""The acceptance test: 327,346 real sessions of a year, against a truth worked out by a separate program.

Every flight that left New York in 2013 is a session: the aircraft is the viewer, the destination the creator.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import oracle
import pytest

# `flown` is a run over the whole year: once is enough.
pytestmark = pytest.mark.xdist_group("flights")

FULL = os.environ.get("HYPOTHESIS_PROFILE") == "full"
NIGHTS = 7 if FULL else 2  # the first, and one that meets what was there before; in the long form what came of those
ROOT = Path(__file__).parents[2]
COLUMNS = ("creator", "viewers", "sessions", "watched_seconds")


def mostwatched(home: Path, *arguments: object, code: int = 0, **variables: str) -> str:
    """Run the command as a user would; its last line of stdout."""
    command = [sys.executable, "-m", "pipelines.cli", "--home", home, *arguments]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MOSTWATCHED_")}
    done = subprocess.run(
        [str(part) for part in command], check=False, capture_output=True, text=True, env=ours | variables, cwd=ROOT
    )
    assert done.returncode == code, done.stderr
    return done.stdout.rstrip("\n").rpartition("\n")[2]


def truth(test_data: Path, days: int) -> list[tuple[object, ...]]:
    text = (test_data / "flights" / "truth" / f"2013-07-01_{days}d.json").read_text()
    return [tuple(row[column] for column in COLUMNS) for row in json.loads(text)["creators"]]


def answered(line: str) -> list[tuple[object, ...]]:
    """Rows of `top --json`, which must be in order of position."""
    rows = json.loads(line)
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    return [(row["creator_id"], *(row[column] for column in COLUMNS[1:])) for row in rows]


def sessions_of(test_data: Path, months: Iterable[str]) -> dict[str, list[dict[str, object]]]:
    """The landed records of those months, for the oracle."""
    landed = test_data / "flights" / "landing" / "viewing_sessions"
    files = [gzip.decompress((landed / f"{month}.ndjson.gz").read_bytes()) for month in months]
    return {"viewing_sessions": [json.loads(line) for lines in files for line in lines.splitlines()]}


def rows_of(ranked: Iterable[oracle.Ranked]) -> list[tuple[object, ...]]:
    return [(row.creator_id, row.viewers, row.sessions, row.watched_seconds) for row in ranked]


@pytest.fixture(scope="module")
def flown(test_data, tmp_path_factory) -> tuple[Path, str]:
    """A home after one run over the whole year as of 1 July 2013, and the id that it published."""
    home = tmp_path_factory.mktemp("flights")
    landing = test_data / "flights" / "landing"
    report = json.loads(mostwatched(home, "run", "--direct", "--json", "--as-of", "2013-07-01", "--landing", landing))
    assert (report["as_of"], report["rejected"]) == ("2013-07-01", 0)
    assert report["accepted"] == report["records"] == 327_346 + 104
    return home, report["snapshot_id"]


@pytest.mark.slow
def test_the_oracle_agrees_with_the_truth(test_data):
    """The oracle itself gives the truth that another program worked out."""
    judge = oracle.Oracle(sessions_of(test_data, ["2013-05", "2013-06", "2013-07"]), date(2013, 7, 1))
    for days in (7, 30):
        assert rows_of(judge.window(days)) == truth(test_data, days)


def test_top_of_thirty_days_is_the_truth(flown, test_data):
    """`top --window 30` is the truth: creators, viewers, sessions, watched seconds and order."""
    assert answered(mostwatched(flown[0], "top", "--window", 30, "--json", "--limit", 1000)) == truth(test_data, 30)


def test_top_of_any_range_is_the_truth(flown, test_data):
    """`top --from --to` of the last seven days is the truth of seven days, and so is `top --window 7`."""
    home, _ = flown
    of_range = mostwatched(home, "top", "--from", "2013-06-24", "--to", "2013-07-01", "--json", "--limit", 1000)
    of_window = mostwatched(home, "top", "--window", 7, "--json", "--limit", 1000)
    assert answered(of_range) == answered(of_window) == truth(test_data, 7)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_shuffled_overlapping_deliveries_end_in_the_same_snapshot(flown, test_data, tmp_path):
    """Delivered shuffled and overlapping over several nights, the same sessions end in the same snapshot."""
    dice = random.Random(2013)
    lines = defaultdict(list)
    for path in sorted((test_data / "flights" / "landing").rglob("*.ndjson.gz")):
        with gzip.open(path, "rb") as file:
            lines[path.parent.name] += file.readlines()
    landing, home = tmp_path / "landing", tmp_path / "home"
    for entity in lines:
        (landing / entity).mkdir(parents=True)
        dice.shuffle(lines[entity])
    for night in range(1, NIGHTS + 1):
        for entity, all_of_them in lines.items():
            # its share of everything, and a tenth of what is already there or still to come
            delivery = all_of_them[night - 1 :: NIGHTS] + dice.sample(all_of_them, len(all_of_them) // 10)
            dice.shuffle(delivery)
            with gzip.open(landing / entity / f"delivery-{night}.ndjson.gz", "wb", compresslevel=1) as file:
                file.writelines(delivery)
        as_of = date(2013, 7, 1) - timedelta(days=NIGHTS - night)
        run = ("run", "--direct", "--json", "--allow-incomplete", "--landing", landing, "--as-of", as_of)
        report = json.loads(mostwatched(home, *run))
    assert report["as_of"] == "2013-07-01"
    assert report["snapshot_id"] == flown[1]


@pytest.mark.slow
def test_another_day_of_the_year(flown, test_data, tmp_path):
    """Run as of another day, over the change of the clocks in New York, the numbers are the oracle's."""
    home = shutil.copytree(flown[0], tmp_path / "home")
    mostwatched(home, "run", "--direct", "--as-of", "2013-11-20", MOSTWATCHED_DAY_TIMEZONE="America/New_York")
    landed = sessions_of(test_data, ["2013-10", "2013-11"])
    judge = oracle.Oracle(landed, date(2013, 11, 20), oracle.Policy(day_timezone="America/New_York"))
    assert answered(mostwatched(home, "top", "--window", 30, "--json", "--limit", 1000)) == rows_of(judge.window(30))
