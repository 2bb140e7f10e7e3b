"""The list of safeguards keeps up with the code: `make safeguards` takes each of them away in turn."""

from __future__ import annotations

import ast
from pathlib import Path

import duckdb
import pytest

from faults.marks import Marked, always, drop, instead, marks, never, replace
from faults.removed import SAFEGUARDS
from faults.safeguards import ROOT
from pipelines.lake.models import without_comments

MARKS = list(marks(ROOT))


def test_every_mark_is_a_safeguard_and_every_safeguard_has_one_mark():
    assert sorted(mark.name for mark in MARKS) == sorted(one.name for one in SAFEGUARDS)
    assert len({mark.name for mark in MARKS}) == len(MARKS) >= 40


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda one: one.name)
def test_a_program_is_left_without_a_safeguard(safeguard):
    """Another one than with it; and the tests that notice are there."""
    (mark,) = [mark for mark in MARKS if mark.name == safeguard.name]
    before, after = mark.text(), safeguard.change(mark)
    if mark.path.suffix == ".py":
        compile(after, mark.path, "exec")
        assert ast.dump(ast.parse(before)) != ast.dump(ast.parse(after))
    else:
        assert len(duckdb.extract_statements(after)) == 1
        assert without_comments(before) != without_comments(after)
    attacks = {path.stem for path in Path(__file__).parent.glob("*.py")}
    assert all((ROOT / name).is_file() if "/" in name else name in attacks for name in safeguard.noticed_by)


PROGRAM = """
def check(values):
    # safeguard: first
    # Some reason.
    if (
        "ğ" and values  # safeguard: second
        and not all(values)
    ):
        raise ValueError("no")  # safeguard: third, fourth
    try:
        return "# safeguard: no comment"
    except ValueError:  # safeguard: fifth
        pass
"""


CONDITION = '"ğ" and values  # safeguard: second\n        and not all(values)'
REFUSAL = 'raise ValueError("no")'


@pytest.mark.parametrize(
    ("name", "change", "before", "after"),
    [
        ("first", never, CONDITION, "False"),
        ("second", always, CONDITION, "True"),
        ("second", replace("not  all(values )", "values"), "not all(values)", "(values)"),
        ("third", drop, REFUSAL, "pass"),
        ("fourth", instead("if values:\n    {}"), REFUSAL, f"if values:\n            {REFUSAL}"),
        ("fifth", replace("ValueError", "OSError"), "except ValueError", "except (OSError)"),
    ],
)
def test_changes_of_python(tmp_path, name, change, before, after):
    """However the marked statement is laid out, and wherever in the file it stands."""
    path = tmp_path / "pipelines" / "program.py"
    path.parent.mkdir()
    path.write_text(PROGRAM, encoding="utf-8")
    assert [mark.name for mark in marks(tmp_path)] == ["first", "second", "third", "fourth", "fifth"]
    (mark,) = [mark for mark in marks(tmp_path) if mark.name == name]
    assert change(mark) == PROGRAM.replace(before, after)


@pytest.mark.parametrize(
    ("change", "expected"),
    [(replace("anti join", "left join"), "left join b"), (drop, None)],
)
def test_changes_of_sql(tmp_path, change, expected):
    path = tmp_path / "sql" / "model.sql"
    path.parent.mkdir()
    path.write_text("select 1\nfrom a\nanti join b  -- safeguard: first\n")
    (mark,) = marks(tmp_path)
    lines = without_comments(change(mark))
    assert lines == without_comments(f"select 1 from a {expected or ''}")


def test_an_expression_must_occur_once(tmp_path):
    path = tmp_path / "program.py"
    path.write_text("x = a + a  # safeguard: x\n")
    for expression in ("a", "b"):
        with pytest.raises(AssertionError, match="occurs"):
            replace(expression, "0")(Marked("x", path, 1))
