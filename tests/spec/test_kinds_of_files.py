"""Hundreds of kinds of landed files: every record is read, or counted as lost, or its file is refused."""

from __future__ import annotations

from random import Random

import pytest
from faults.kinds import kinds, problem


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return kinds(Random(20260309), tmp_path_factory.mktemp("kinds"))


def test_nothing_of_any_kind_is_lost_or_misread_in_silence(found, tmp_path):
    """The attack on the input draws the same with other records, and other places of the damage."""
    wrong = {name: problem(tmp_path / str(number), kind) for number, (name, kind) in enumerate(found.items())}
    assert {name: each for name, each in wrong.items() if each} == {}
    assert len(found) > 300
