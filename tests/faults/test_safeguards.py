"""The list of safeguards keeps up with the code: `make safeguards` takes each of them away in turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.removed import SAFEGUARDS
from faults.safeguards import ROOT


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda one: one.name)
def test_every_safeguard_stands_where_the_list_says(safeguard):
    """Its text is in its file exactly once, a program is left without it, and the tests that notice are there."""
    text = (ROOT / safeguard.path).read_text(encoding="utf-8")
    assert text.count(safeguard.before) == 1
    assert safeguard.before != safeguard.after
    if safeguard.path.endswith(".py"):
        compile(text.replace(safeguard.before, safeguard.after), safeguard.path, "exec")
    attacks = {path.stem for path in Path(__file__).parent.glob("*.py")}
    assert all((ROOT / name).is_file() if "/" in name else name in attacks for name in safeguard.noticed_by)


def test_there_are_at_least_forty():
    """And no two of one name."""
    assert len({one.name for one in SAFEGUARDS}) == len(SAFEGUARDS) >= 40
