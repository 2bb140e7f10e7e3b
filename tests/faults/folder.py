"""What may stand in a landing folder, and what may happen there while it is read."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

from world import World

from faults.campaign import Effort, Figure, not_tried
from faults.hostile_files import good_line
from faults.landing import Ground
from pipelines.core.settings import Settings
from pipelines.raw.catalog import raw_files
from pipelines.raw.ingest import IngestReport, ingest
from pipelines.raw.raw_file import RawFile
from pipelines.raw.rejected_records import rejected_records

SECRET = b'{"userId":"secret","creatorId":"secret"}\n'
READ = (
    "\n.ndjson", "a\nb.ndjson", "\x1b[31mred\x1b[0m.ndjson", "\t\r.ndjson", " .ndjson", "-rf.ndjson", "a;b'c\"d.ndjson",
    "$(touch x).ndjson", "`id`.ndjson", "%s%n.ndjson", "[/x][bold].ndjson", "*.ndjson", "ünï日本😀.ndjson",
    "\u202e.ndjson",
    "😀" * 61 + ".ndjson", "x" * 248 + ".ndjson", "~.ndjson", "\\x0a.ndjson", "a,b.ndjson", "=cmd.ndjson", "x..ndjson",
    "CON.ndjson", "a.json.ndjson", "a.gz.ndjson", "a⁄b.ndjson", "\u2028.ndjson", "\x7f\x85.ndjson",
)  # fmt: skip
READ_BY_CONTENT = (  # they begin like JSON
    "a.ndjson.gz.gz", "a.NDJSON", "a.ndjson ", "a.ndjson\n", "a.ndjson.bak", "a.ndjson.xz", "a.txt", "a",
    "a.parquet.gz",
    "a.ndjson~", "a.csv.zip", "a.json",
)  # fmt: skip
NOT_READ = ("read me", "readme.md", "sums.sha256", "notes.txt\n", "\x1b[31m.log", "😀", "a.ndjson.md5", "[/x].yaml")
UNFINISHED = (".a.ndjson", "_a.ndjson", "a.ndjson.part", "a.ndjson.tmp", "..ndjson", "...ndjson")


def attack_folder(effort: Effort) -> Iterator[Figure]:
    """Everything that is no ordinary file under an ordinary name."""
    yield names(effort)
    yield from not_files(effort)
    yield swapped(effort)
    yield changing(effort)
    yield many_files(effort)
    yield many_days(effort)


def names(effort: Effort) -> Figure:
    """Files of all kinds of names: read or ignored as the rules say, named in one line, once."""
    figure = Figure("landed files of hostile names")
    ground = Ground(effort.scratch / "names")
    folder = ground.settings.landing / "follows"
    deep = folder / "/".join(["d" * 200] * 15)
    deep.mkdir(parents=True)
    read = [os.fsencode(folder / name) for name in (*READ, *READ_BY_CONTENT)] + [
        os.fsencode(folder) + b"/\xff\xfe\n.ndjson",
        os.fsencode(deep / "x.ndjson"),
    ]
    unfinished = [os.fsencode(folder / name) for name in UNFINISHED]
    others = [os.fsencode(folder / name) for name in NOT_READ]
    (folder / "[").mkdir()  # for a name that looks like markup
    for number, path in enumerate([*read, *unfinished, *others]):
        line = b"words" if path in others else good_line("follows", number)
        Path(os.fsdecode(path)).write_bytes(line + b"\nbad\n")
        os.utime(path, ns=(10**18, 10**18))  # old enough to be remembered
    for run in (1, 2):
        report = ingest(ground.settings)
        raw = raw_files(ground.settings)
        lines = sorted(row for each in raw for row in each.table("all")["user_id"].to_pylist())
        figure.check(lines == sorted(f"good {number}" for number in range(len(read))), f"run {run}: {lines} are in")
        figure.check(report.new_files == (len(read) if run == 1 else 0), f"run {run}: {report.new_files} new files")
        ignored = sorted(os.fsencode(each.path) for each in report.ignored)
        figure.check(ignored == sorted(unfinished + others), f"run {run}: {ignored} are ignored")
    for each in rejected_records(ground.settings):
        figure.check(each.file.isprintable() and each.text == "bad", f"shown as {each.file!r}")
    figure.tried += len(read) + len(unfinished) + len(others)
    return figure


def not_files(effort: Effort) -> Iterator[Figure]:
    """Symlinks, pipes, sockets, devices, loops, and ways out of the root: never read, never waited for."""
    figure = Figure("symlinks, FIFOs, sockets, loops and ways out of the folder")
    ground = Ground(effort.scratch / "kinds")
    outside = _outside(effort)
    good = ground.land("follows/good.ndjson", good_line("follows", 1) + b"\n")
    folder = good.parent
    makers: dict[str, Callable[[Path], object]] = {
        "a symlink to a file": lambda path: path.symlink_to(outside / "secret.ndjson"),
        "a relative symlink": lambda path: path.symlink_to("../../../outside/secret.ndjson"),
        "a symlink to a folder": lambda path: path.with_suffix("").symlink_to(outside),
        "a loop": lambda path: path.with_suffix("").symlink_to(folder),
        "a symlink to itself": lambda path: path.symlink_to(path.name),
        "a dangling symlink": lambda path: path.symlink_to("nowhere.ndjson"),
        "a device behind a symlink": lambda path: path.symlink_to("/dev/zero"),
        "a FIFO": os.mkfifo,
        "a socket": _socket,
        "a folder with a file's name": lambda path: path.mkdir(),
    }
    for number, make in enumerate(makers.values()):
        make(folder / f"{number}.ndjson")
    (folder.parent / "erasures").symlink_to(outside / "follows")
    report = _in_time(figure, ground.settings)
    what = [each.path.name for each in report.ignored]
    figure.check(len(what) == len(makers), f"ignored: {what}")  # the folder is walked; erasures is one more
    for name in makers:
        figure.check(_rows(ground.settings) == ["good 1"], f"{name}: {_rows(ground.settings)} are in")
    yield figure
    device = "a device in the landing folder"
    try:
        os.mknod(folder / "device.ndjson", 0o600 | 0o020000, os.makedev(1, 5))
    except (OSError, AttributeError):
        yield not_tried(device, "making one needs rights that this user has not")
    else:
        figure = Figure(device)
        _in_time(figure, ground.settings)
        yield figure
    forbidden = "a file that may not be read"
    if os.geteuid() == 0:
        yield not_tried(forbidden, "root may read everything")
        return
    figure = Figure(forbidden)
    good.chmod(0)
    report = ingest(Settings(home=effort.scratch / "forbidden"), [ground.settings.landing])
    figure.check([each.name for each in report.postponed] == ["follows/good.ndjson"], f"{report.postponed}")
    yield figure


def _outside(effort: Effort) -> Path:
    """A folder with files that must never be read."""
    folder = effort.scratch / "outside"
    for inner in (folder, folder / "follows", folder / "follows" / "follows"):
        inner.mkdir(exist_ok=True)
        (inner / "secret.ndjson").write_bytes(SECRET)
    return folder


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def _in_time(figure: Figure, settings: Settings) -> IngestReport:
    started = time.monotonic()
    report = ingest(settings)
    figure.check(time.monotonic() - started < 30, "it waited for something")
    return report


def _rows(settings: Settings) -> list[str]:
    return sorted(row for raw in raw_files(settings) for row in _column(raw, "user_id"))


def _column(raw: RawFile, name: str) -> list[str]:
    return [value for day in raw.files for value in raw.table(day)[name].to_pylist()]


def swapped(effort: Effort) -> Figure:
    """What was listed is something else by the time it is opened."""
    figure = Figure("a file or folder swapped after it was listed")
    outside = _outside(effort)

    def fifo(path: Path) -> None:
        path.unlink()
        os.mkfifo(path)

    def link(path: Path) -> None:
        path.unlink()
        path.symlink_to(outside / "secret.ndjson")

    def folder_link(path: Path) -> None:
        path.parent.rename(path.parent.with_name("_gone"))
        path.parent.symlink_to(outside / "follows")

    def entity_link(path: Path) -> None:
        path.parent.parent.rename(path.parent.parent.with_name("_gone"))
        path.parent.parent.symlink_to(outside)

    for swap in (fifo, link, folder_link, entity_link, Path.unlink):
        ground = Ground(effort.scratch / f"swapped {swap.__name__}")
        path = ground.land("follows/follows/secret.ndjson", good_line("follows", 1) + b"\n")
        ground.land("pledges/other.ndjson", good_line("pledges", 2) + b"\n")

        def progress(step: str, *_: object, path: Path = path, swap: Callable[[Path], object] = swap) -> None:
            if "secret" in step:
                swap(path)

        report = ingest(ground.settings, progress=progress)
        problem = f"{swap.__name__}: {[raw.landed_name for raw in report.new]} were read, {report.postponed} postponed"
        figure.check([raw.landed_name for raw in report.new] == ["pledges/other.ndjson"], problem)
        figure.check([each.name for each in report.postponed] == ["follows/follows/secret.ndjson"], problem)
    return figure


def changing(effort: Effort) -> Figure:
    """Files that somebody appends to, replaces or removes all the time: read whole at another run, or not at all."""
    figure = Figure("files growing, replaced and removed while they are read")
    rounds = effort.times(4, 100)
    lines = [good_line("follows", number) + b"\n" for number in range(40_000)]
    versions = {letter: b"".join(lines).replace(b"good", letter.encode() * 4) for letter in "ab"}

    def grow(path: Path, go_on: Callable[[], bool]) -> None:
        with path.open("ab", buffering=0) as file:
            number = 0
            while go_on():
                line = b'{"userId":"late %d","creatorId":"c"}\n' % number
                file.write(line[:17])
                file.write(line[17:])
                number += 1

    def replace(path: Path, go_on: Callable[[], bool]) -> None:
        number = 0
        while go_on():
            other = path.with_name("_next")
            other.write_bytes(versions["ab"[number % 2]])
            other.replace(path)
            number += 1

    def remove(path: Path, go_on: Callable[[], bool]) -> None:
        while go_on():
            path.unlink()
            time.sleep(0.002)
            replace(path, iter([True, False]).__next__)

    postponed = 0
    for number in range(rounds):
        for change in (grow, replace, remove):
            ground = Ground(effort.scratch / f"{change.__name__} {number}")
            path = ground.land("follows/x.ndjson", versions["a"])
            with _going_on(change, path):
                for _ in range(3):
                    postponed += len(ingest(ground.settings).postponed)
            report = ingest(ground.settings)
            last = path.read_bytes().count(b"\n")
            figure.check(report.postponed == (), f"{change.__name__}: postponed though it changes no longer")
            figure.check(list(rejected_records(ground.settings)) == [], f"{change.__name__}: half a line was read")
            read = {raw.landed_sha256: raw.accepted for raw in raw_files(ground.settings)}
            whole = last in read.values() and (change is grow or set(read.values()) == {40_000})
            figure.check(whole, f"{change.__name__}: {read} lines were read of {last}")
    figure.check(postponed > 0, "no file was postponed: nothing changed while it was read")
    figure.note = f"{postponed} times a file was postponed"
    return figure


@contextmanager
def _going_on(change: Callable[[Path, Callable[[], bool]], None], path: Path) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=change, args=(path, lambda: not stop.is_set()))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def many_files(effort: Effort) -> Figure:
    """Thousands of tiny files in one folder."""
    count = effort.times(1000, 10_000)
    figure = Figure("tiny files in one folder")
    ground = Ground(effort.scratch / "many")
    for number in range(count):
        ground.land(f"erasures/{number}.ndjson", b'{"userId":"u%d"}\n' % number * (number % 3) + b"\n" * (number % 7))
    started = time.monotonic()
    report = ingest(ground.settings)
    took = time.monotonic() - started
    landed = sum(number % 3 for number in range(count))
    different = {(number, number % 7) if number % 3 else (0, number % 7) for number in range(count)}
    figure.tried = count
    figure.check(report.new_accepted == landed, f"{report.new_accepted} of {landed} records are in")
    figure.check(
        report.new_files == len(different), f"{report.new_files} files are new, of {len(different)} different ones"
    )
    started = time.monotonic()
    figure.check(ingest(ground.settings).new_files == 0, "a second run reads them again")
    figure.note = f"{took / count * 1000:.1f} ms a file; {(time.monotonic() - started) / count * 1000:.2f} when known"
    return figure


def many_days(effort: Effort) -> Figure:
    """A file with sessions on very many different days, of the years 1 to 9999: the night's answer is the oracle's."""
    count = effort.times(200, 3000)
    figure = Figure("different days in one file of sessions, ranked as the oracle says")
    world = World(effort.scratch / "days")
    draw = effort.random("days")
    far = [date(1, 1, 1) + timedelta(draw.randrange(3_652_058)) for _ in range(count - 2)] + [
        date(1, 1, 1),
        date(9999, 12, 31),
    ]
    started_at = [f"{day.isoformat()}T23:59:59.999Z" for day in far]
    ids = [{"sessionId": f"s{number}", "creatorId": "far", "viewerId": f"v{number}"} for number in range(count)]
    world.land("viewing_sessions", [one | {"startedAt": at} for one, at in zip(ids, started_at, strict=True)])
    world.busy_days("2026-01-01", 30)
    started = time.monotonic()
    try:
        world.run(night={"accept_rejects": True, "allow_incomplete": True})
        figure.check(True, "")
    except Exception as error:
        figure.check(False, f"--seed {effort.seed}: {type(error).__name__}: {str(error)[:500]}")
    took = time.monotonic() - started
    figure.tried = len(set(far))
    figure.note = f"{took / figure.tried * 1000:.0f} ms a day, {took:.0f} s"
    return figure
