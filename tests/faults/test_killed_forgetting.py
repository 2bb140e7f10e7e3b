"""Whenever `forget` is killed: nothing is said to be done, a run publishes with the persons or without, never half, and
giving it again ends where an undisturbed one ends, with no byte under home that holds the id.

FAULT_SEED repeats the moments of a run, FAULT_MOMENTS says how many they are.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from person import DEVICE, USER, holding, other_formats, platform
from world import AS_OF, World

from faults.children import Children, seen, torn
from pipelines.snapshots import manifest

SEED = os.environ.get("FAULT_SEED") or secrets.token_hex(4)
USERS = Path(tempfile.mkdtemp(prefix="users-")) / "users.txt"
USERS.write_text(f"{USER}\nzoe\n")
atexit.register(shutil.rmtree, USERS.parent)
FORGET = ["forget", "--users", str(USERS), "--landing-too", "--json"]
RUN = ["run", "--direct", "--json", "--as-of", str(AS_OF), "--accept-rejects", "--allow-incomplete"]
MOMENTS = int(os.environ.get("FAULT_MOMENTS", "4"))


@dataclass(frozen=True)
class Played:
    """A home in which two persons are to be forgotten, and how that goes undisturbed."""

    children: Children
    home: Path
    old_id: str
    new_id: str
    kept: list[str]
    changes: int


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("forgetting")
    world = World(folder / "platform")
    platform(world)
    other_formats(world)
    with Children() as children:
        old_id = children.done(world.settings.home, RUN).json["snapshot_id"]
        home = Path(shutil.copytree(world.settings.home, folder / "undisturbed"))
        done = children.done(home, FORGET)
        assert [each["is_forgotten"] for each in done.json] == [True, True]
        kept = manifest.snapshot_ids(home / "snapshots")
        yield Played(children, world.settings.home, old_id, done.json[0]["snapshot_after"], kept, len(done.operations))


@pytest.mark.slow
def test_forgetting_can_be_killed_before_any_change(tmp_path, played):
    """The last changes are the register's: what was not done to the end was not said to be done."""
    draw = Random(SEED)
    for turn in range(MOMENTS):  # one of each stretch
        number = draw.randint(played.changes * turn // MOMENTS + 1, played.changes * (turn + 1) // MOMENTS)
        why = f"killed before change {number} of {played.changes}; FAULT_SEED={SEED}"
        home = Path(shutil.copytree(played.home, tmp_path / f"{number}"))
        assert played.children.do(home, FORGET, at=number).died, why
        assert seen(home) in (played.old_id, played.new_id), why
        if turn % 2:  # the night comes in between
            assert played.children.done(home, RUN).json["snapshot_id"] in (played.old_id, played.new_id), why
        again = played.children.do(home, FORGET)
        assert again.exit == 0, f"{why}: {again.out} {again.err}"
        said = [(each["is_forgotten"], each["snapshot_after"]) for each in again.json]
        assert said == [(True, played.new_id)] * 2, why
        assert (seen(home), torn(home), manifest.snapshot_ids(home / "snapshots")) == (
            played.new_id,
            [],
            played.kept,
        ), why
        assert holding(home, USER, DEVICE) == [], why
        shutil.rmtree(home)
