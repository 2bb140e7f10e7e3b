"""How long what took."""

from __future__ import annotations

import pytest

from pipelines.core.progress import no_progress
from pipelines.jobs.timings import BETWEEN, Durations


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_every_moment_of_a_stage_belongs_to_one_step():
    clock = Clock()
    durations = Durations(clock)
    told: list[tuple[object, ...]] = []
    tell = durations.timed(lambda *step: told.append(step))
    stage = durations.timed_stage(lambda name, function: function())

    def ingest() -> str:
        clock.now += 1
        tell("read follows/a.ndjson", 0, 10, "bytes")
        clock.now += 2
        tell("read follows/b.ndjson", 4, 10, "bytes")
        clock.now += 3
        tell("read pledges/a.ndjson", 6, 10, "bytes")
        clock.now += 4
        tell("read landed files", 10, 10, "bytes")
        clock.now += 5
        return "done"

    clock.now += 10
    assert stage("ingest", ingest) == "done"
    clock.now += 20
    assert [(each.stage, each.step, each.after_seconds, each.seconds) for each in durations.so_far()] == [
        ("ingest", BETWEEN, 10, 6),
        ("ingest", "read follows", 11, 5),
        ("ingest", "read pledges", 16, 4),
    ]
    assert told[0] == ("read follows/a.ndjson", 0, 10, "bytes")
    assert durations.seconds() == 45


def test_a_stage_that_fails_or_is_tried_again_is_timed_too():
    clock = Clock()
    durations = Durations(clock)

    def twice(name: str, function: object) -> None:
        for _ in range(2):
            with pytest.raises(OSError, match="hiccup"):
                function()  # type: ignore[operator]

    def fails() -> None:
        durations.timed(no_progress)("build", 0, 1)
        clock.now += 1
        raise OSError("hiccup")

    durations.timed_stage(twice)("build", fails)
    clock.now += 1
    assert [(each.step, each.seconds) for each in durations.so_far()] == [(BETWEEN, 0), ("build", 2)]


def test_what_is_going_on_counts_as_far_as_it_has_come():
    clock = Clock()
    durations = Durations(clock)

    def publish() -> float:
        clock.now += 3
        return durations.so_far()[0].seconds

    assert durations.timed_stage(lambda name, function: function())("publish", publish) == 3
