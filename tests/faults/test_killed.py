"""Whenever a command is killed: readers see the old state or the new, and giving it again puts all right.

A few moments of the attack that crash.py makes at thousands (`make faults`); FAULT_SEED repeats those of a run.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from random import Random

import pytest
from effort import effort as look

from faults import power
from faults.campaign import Effort
from faults.children import Scene, environment, scene, seen
from faults.crash import sample

pytestmark = pytest.mark.xdist_group("killed")  # `played` is made once, whichever worker has it

SEED = os.environ.get("FAULT_SEED") or secrets.token_hex(4)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with scene(tmp_path_factory.mktemp("scene")) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "first run", "repair", "prune", "rollback"])
def test_a_command_can_be_killed_before_any_change(tmp_path, played, name):
    """Readers see the old snapshot or the new, whole; once more, and all is as undisturbed, file by file."""
    case = played.cases[name]
    for number in sample(len(case.operations), 1, Random(f"{SEED} {name}")):
        why = f"{name} killed before change {number} of {len(case.operations)}; FAULT_SEED={SEED}"
        home = case.copy(tmp_path / f"{number}")
        assert played.children.do(home, case.arguments, at=number).died, why
        assert case.problem_between(home) is None, why
        assert case.problem_after(home, played.children) is None, why


@pytest.mark.slow
def test_readers_see_the_new_snapshot_from_the_move_of_the_pointer_on(tmp_path, played):
    """Until the pointer is renamed readers see the old snapshot; from then on the new one."""
    case, ids = played.cases["run"], []
    of_the_pointer = [at for at, (_, _, path) in enumerate(case.operations, 1) if "current.json" in path]
    for number in range(of_the_pointer[0], of_the_pointer[-1] + 2):
        home = case.copy(tmp_path / f"{number}")
        played.children.do(home, case.arguments, at=number)
        ids.append(seen(home))
    assert ids == sorted(ids, key=[played.old_id, played.new_id].index), "the old one is not seen again"
    assert set(ids) == {played.old_id, played.new_id}


def test_the_command_can_be_killed(tmp_path, played):
    """The same for the real command in a process of its own: kill it, give it again, and all is as it should be."""
    case = played.cases["run"]
    home = case.copy(tmp_path / "home")
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), *case.arguments]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(Random(f"{SEED} command").uniform(0.3, 2.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert case.problem_between(home) is None, f"FAULT_SEED={SEED}"
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["snapshot_id"] == played.new_id
    assert case.problem_now(home) is None, f"FAULT_SEED={SEED}"


@pytest.mark.slow
def test_what_was_acknowledged_outlasts_the_power(tmp_path, played):
    """Also when a killed run had done it all but for the last fsync: the next one does not take that for granted."""
    effort = Effort(False, SEED, tmp_path)
    run, prune = played.cases["run"], played.cases["prune"]
    last = {"at": len(run.operations)}
    histories = [
        power.told(effort, played, run, "run, killed at its last change, again", last),
        power.killed_when_named(effort, played),
        power.told(effort, played, prune, "prune"),
    ]
    figure = power.opened(effort, histories, look(8, 25, 25))  # `make faults FAULTS=power` opens 25 of each
    assert figure.tried > 20
    assert figure.wrong == [], f"FAULT_SEED={SEED}"
