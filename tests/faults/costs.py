"""Small files that cost much: a search for what takes the most processor time and memory for each byte that lands.

Files are drawn by a few numbers (how many records, days, creators, viewers, how long their ids, how packed); the
costliest so far is changed a little, again and again. Each is a whole night in a process of its own.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from random import Random

from faults.campaign import Effort, Figure
from pipelines.core.settings import Settings
from pipelines.jobs import nightly

AS_OF = date(2026, 1, 31)
MOST_BYTES = 60_000  # of a drawn file
# Over an ordinary night. The costliest known, 0.64, are sessions whose versions start on days of their own: a day has
# its files, and a statement that decides between the versions of its sessions.
MOST_SECONDS_A_KILOBYTE = 1.0
MOST_MEMORY_MB = 400


@dataclass(frozen=True)
class Draw:
    """What a landed file of sessions is made of."""

    records: int
    days: int
    creators: int
    viewers: int
    id_chars: int
    versions: int  # of each session
    packed: bool
    empty_parts: int  # of a packed file, before its records

    def content(self) -> bytes:
        """The bytes of the file."""
        text = self.text()
        return gzip.compress(b"", mtime=0) * self.empty_parts + gzip.compress(text) if self.packed else text

    def text(self) -> bytes:
        """Its lines."""
        lines = []
        for number in range(self.records):
            at = AS_OF - timedelta(days=1 + number % self.days)
            record = {
                "sessionId": self._id("s", number // self.versions),
                "revision": number % self.versions,
                "creatorId": self._id("c", number % self.creators),
                "viewerId": self._id("v", number % self.viewers),
                "startedAt": f"{at}T10:00:00Z",
            }
            lines.append(json.dumps(record).encode() + b"\n")
        return b"".join(lines)

    def _id(self, kind: str, number: int) -> str:
        return f"{kind}{number}".ljust(self.id_chars, "x")


_CHOICES = {
    "records": (1, 30, 100, 300, 1000),
    "days": (1, 7, 40, 200, 1000),
    "creators": (1, 10, 1000),
    "viewers": (1, 10, 1000),
    "id_chars": (1, 30, 200, 201, 20_000),
    "versions": (1, 2, 20),
    "packed": (False, True),
    "empty_parts": (0, 100, 3_000),
}
_ORDINARY = Draw(records=100, days=1, creators=10, viewers=10, id_chars=10, versions=1, packed=False, empty_parts=0)
_KNOWN = (  # what once was the worst
    replace(_ORDINARY, records=300, days=1000, versions=20),
    replace(_ORDINARY, records=3, creators=3, id_chars=20_000),
    replace(_ORDINARY, packed=True, empty_parts=3_000),
)


def attack_costs(effort: Effort) -> Iterator[Figure]:
    """Search; nothing in this process may have started a thread yet, as it forks."""
    figure = Figure("nights of small files that were drawn to be costly")
    draw = effort.random("costs")
    usual_seconds, usual_mb = _cost(effort, _ORDINARY)
    worst, worst_draw, most_mb = 0.0, _ORDINARY, 0.0
    wanted = effort.times(9, 300)
    for number in range(wanted):
        drawn = _KNOWN[number] if number < len(_KNOWN) else _changed(draw, worst_draw)
        size = max(len(drawn.content()), len(drawn.text()))  # an archive costs what it holds, up to what packers can do
        seconds, mb = _cost(effort, drawn)
        each_kilobyte = max(0.0, seconds - usual_seconds) / max(size / 1000, 1)
        if each_kilobyte > worst:
            worst, worst_draw = each_kilobyte, drawn
        most_mb = max(most_mb, mb - usual_mb)
        figure.check(
            each_kilobyte <= MOST_SECONDS_A_KILOBYTE and mb - usual_mb <= MOST_MEMORY_MB,
            f"{asdict(drawn)}: {each_kilobyte:.2f} s a kilobyte, {mb - usual_mb:.0f} MB over an ordinary night",
        )
    figure.note = f"worst {worst:.2f} s of CPU a kilobyte ({asdict(worst_draw)}); at most {most_mb:.0f} MB more"
    yield figure


def _changed(draw: Random, worst: Draw) -> Draw:
    """Another file, one or two numbers away from the worst so far, and no larger than allowed."""
    while True:
        names = draw.sample(list(_CHOICES), draw.randint(1, 2))
        changed = replace(worst, **{name: draw.choice(_CHOICES[name]) for name in names})
        if changed.records * (90 + 3 * changed.id_chars) <= MOST_BYTES:
            return changed


def _cost(effort: Effort, drawn: Draw) -> tuple[float, float]:
    """(CPU seconds, peak of resident memory in MB) of the night over one file, in a process of its own."""
    home = effort.scratch / "costs" / str(len(list(effort.scratch.glob("costs/*"))))
    settings = Settings(home=home)
    path = settings.landing / "viewing_sessions" / f"x.ndjson{'.gz' if drawn.packed else ''}"
    path.parent.mkdir(parents=True)
    path.write_bytes(drawn.content())
    child = os.fork()
    if child == 0:
        status = 1
        try:
            nightly.run(settings, AS_OF, allow_incomplete=True, accept_rejects=True)
            status = 0
        finally:
            os._exit(status)
    _, ended, used = os.wait4(child, 0)
    assert os.waitstatus_to_exitcode(ended) == 0, drawn
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
