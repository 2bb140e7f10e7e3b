"""Poisoned input: whatever lands, every good line is in, every bad one is kept with its reason, and the books balance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import oracle

from faults import hostile_files
from faults.campaign import TEST_DATA, Effort, Figure, not_tried
from faults.landing import Ground
from faults.mutations import mutated, writer

LINES = 1500  # of a file of mutated lines


def attack(effort: Effort) -> Iterator[Figure]:
    """Land all that is hostile, and compare what became of it with a judge that shares no code."""
    yield from corpora(effort)
    yield hostile_items(effort)
    yield mutations(effort)


def corpora(effort: Effort) -> Iterator[Figure]:
    """Other people's collections of what breaks parsers and programs."""
    suite, naughty = "nst/JSONTestSuite, as lines and inside good lines", "the naughty strings, as every id and name"
    if effort.corpora is None:
        for what in (suite, naughty):
            yield not_tried(what, f"{TEST_DATA} does not name the folder that holds the corpora")
        return
    ground = Ground(effort.scratch / "suite")
    figure = Figure(suite)
    documents = hostile_files.land_suite(ground, effort.corpora / "json_test_suite" / "test_parsing", effort.full)
    ground.compare(figure)
    figure.note = f"{documents} documents"
    yield figure
    figure = Figure(naughty)
    ground = Ground(effort.scratch / "naughty")
    texts = [*json.loads((effort.corpora / "naughty_strings" / "blns.json").read_text()), *hostile_files.MORE_TEXTS]
    count = hostile_files.land_values(ground, texts, effort.times(1, 100))
    ground.compare(figure)
    figure.note = f"{len(texts)} strings in {count:,} records, each in every form of its entity"
    yield figure


def hostile_items(effort: Effort) -> Figure:
    """Hostile lines, each between good ones, in every text form."""
    figure = Figure("hostile lines between good ones")
    ground = Ground(effort.scratch / "lines")
    count = hostile_files.land_hostile_lines(ground, effort.full)
    ground.compare(figure)
    figure.note = f"{count} hostile lines"
    return figure


def mutations(effort: Effort) -> Figure:
    """Random mutations of good lines of every entity."""
    wanted = effort.times(6_000, 100_000)
    figure = Figure("random mutations of good lines")
    entities = list(oracle.CONTRACT)
    done = number = 0
    while done < wanted:
        draw = effort.random(f"mutations {number}")
        ground = Ground(effort.scratch / "mutations")
        for entity in [entities[number % len(entities)], draw.choice(entities)]:
            writers = [writer(draw, entity) for _ in range(draw.choice([1, 1, 2]))]
            good = [draw.choice(writers)(each) for each in range(LINES)]
            lines = []
            for line in good:
                is_mutated = draw.random() < 0.5
                done += is_mutated
                lines.append(mutated(draw, line, good[:20]) if is_mutated else line.encode())
            end = draw.choice([b"\n", b"\n", b"\r\n"])
            ground.land_lines(
                entity,
                f"m{number}{entity}",
                end.join(lines) + draw.choice([b"", end]),
                [draw.choice(["", "", ".gz", ".zst"])],
            )
        ground.compare(figure, f"file {number}, --seed {effort.seed}")
        shutil.rmtree(effort.scratch / "mutations")
        number += 1
    figure.note = f"{done:,} mutated lines among {figure.tried:,} records"
    return figure
