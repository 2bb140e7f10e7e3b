"""Poisoned input: whatever lands, every good line is in, every bad one is kept with its reason, and the books balance.

The judge (judge.py) says of every line whether it is good, and with which values; it shares no code with `pipelines`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from random import Random

import oracle

from faults import hostile_files
from faults.archives import attack_archives
from faults.bombs import explode
from faults.campaign import TEST_DATA, Effort, Figure, not_tried
from faults.costs import attack_costs
from faults.dialects import attack_dialects
from faults.folder import attack_folder
from faults.kinds import attack_kinds
from faults.landing import PACKED, Expected, Ground
from faults.line_judge import judge_cells
from faults.mutations import csv_writer, mutated, mutated_cells, writer
from faults.sheets import attack_sheets

LINES = 1500  # of a file of mutated lines


def attack(effort: Effort) -> Iterator[Figure]:
    """Land all that is hostile, and compare what became of it."""
    yield from explode(effort)  # first: they fork
    yield from attack_costs(effort)
    yield from corpora(effort)
    yield hostile_lines(effort)
    yield mutations(effort)
    yield from attack_dialects(effort)
    yield from attack_kinds(effort)
    yield from attack_archives(effort)
    yield from attack_folder(effort)
    yield from attack_sheets(effort)


def corpora(effort: Effort) -> Iterator[Figure]:
    """Other people's collections of what breaks parsers and programs."""
    suite, naughty = "nst/JSONTestSuite, as lines and inside good lines", "the naughty strings, as ids and names"
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


def hostile_lines(effort: Effort) -> Figure:
    """Hostile lines, each between good ones, in every text form."""
    figure = Figure("hostile lines between good ones")
    ground = Ground(effort.scratch / "lines")
    count = hostile_files.land_hostile_lines(ground, effort.full)
    ground.compare(figure)
    figure.note = f"{count:,} of them"
    return figure


def mutations(effort: Effort) -> Figure:
    """Random mutations of good lines of every entity, thousands in a file."""
    figure = Figure("random mutations of good lines, and the lines between")
    wanted = effort.times(6_000, 100_000)
    done = number = 0
    while done < wanted:
        draw = effort.random(f"mutations {number}")
        folder = effort.scratch / "mutations"
        ground = Ground(folder)
        done += _land_json(ground, draw, list(oracle.CONTRACT)[number % len(oracle.CONTRACT)])
        if number % 2:
            done += _land_csv(ground, draw, draw.choice(hostile_files.FLAT))
        ground.compare(figure, f"file {number}, --seed {effort.seed}")
        shutil.rmtree(folder)
        number += 1
    figure.note = f"{done:,} mutated lines"
    return figure


def _land_json(ground: Ground, draw: Random, entity: str) -> int:
    """Land a file of lines of one writer or two, half of them mutated; returns how many."""
    writers = [writer(draw, entity) for _ in range(draw.choice([1, 1, 2]))]
    good = [draw.choice(writers)(number) for number in range(LINES)]
    share = draw.choice([0.1, 0.5, 0.9])
    hit = [draw.random() < share for _ in good]
    lines = [
        mutated(draw, line, good[:20]) if is_hit else line.encode() for line, is_hit in zip(good, hit, strict=True)
    ]
    end = draw.choice([b"\n", b"\n", b"\r\n"])
    ground.land_lines(entity, "mutated", end.join(lines) + draw.choice([b"", end]), [draw.choice(list(PACKED))])
    return sum(hit)


def _land_csv(ground: Ground, draw: Random, entity: str) -> int:
    """The same of CSV without quotation marks, where a line is a record."""
    header, line_of = csv_writer(draw, entity)
    good = [line_of(number) for number in range(LINES)]
    hit = [draw.random() < 0.5 for _ in good]
    end = draw.choice([b"\n", b"\r\n"])
    lines = [",".join(header).encode()]
    for line, is_hit in zip(good, hit, strict=True):
        lines.append(mutated_cells(draw, line, good[:20]) if is_hit else line.encode())
    text = end.join(lines)
    ending = draw.choice(list(PACKED))
    ground.land(f"{entity}/mutated.csv{ending}", PACKED[ending](text))
    expected = Expected(entity, f"{entity}/mutated.csv{ending}")
    lines = re.split(rb"\n|\r(?!\n)", text)  # the last of which is blank, and none where the text ends with a line
    for number, line in enumerate(lines[1 : len(lines) - (not lines[-1])], 2):
        verdict = judge_cells(entity, header, line)
        expected.blank += verdict is None
        expected.about[number] = repr(line)
        if verdict is not None:
            expected.records.append((number, verdict))
    ground.expected.append(expected)
    return sum(hit)
