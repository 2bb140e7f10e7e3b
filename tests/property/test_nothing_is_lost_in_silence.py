"""What other programs write, and what becomes of it on the way: records, rejections, or a file that is unreadable.

The attack on the input draws thousands of the same (tests/faults/dialects.py).
"""

from __future__ import annotations

import pytest
from faults.dialects import DAMAGE, ENDINGS, LETTERS, NAMES, PACKS, dialects, landed, problem_of_damaged
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

TEXTS = st.text(st.sampled_from(LETTERS), min_size=1, max_size=8)
RECORDS = st.lists(
    st.tuples(TEXTS, TEXTS, st.booleans()).map(
        lambda values: dict(zip(("userId", "creatorId", "deleted"), values, strict=True))
    ),
    min_size=1,
    max_size=12,
)


PHASES = (Phase.explicit, Phase.generate)  # each example is an ingest: to shrink one takes minutes
SOME = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(records=RECORDS, pack=st.sampled_from(list(PACKS)))
def test_what_the_installed_libraries_write_is_read(tmp_path_factory, name, records, pack):
    """Every record, with the values that it was written with."""
    folder = tmp_path_factory.mktemp("dialect")
    ending, write = dialects(folder)[name]
    if ending == "parquet":
        pack = ""
    accepted, rejected, unreadable, rows = landed(folder, f"a.{ending}{pack}", PACKS[pack](write(records)))
    assert (accepted, rejected, unreadable) == (len(records), 0, None)
    assert [(row["user_id"], row["creator_id"], row["deleted"]) for row in rows] == [
        tuple(each.values()) for each in records
    ]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=4, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(records=RECORDS, pack=st.sampled_from(list(PACKS)), ending=st.sampled_from(ENDINGS))
def test_a_name_that_says_something_else_loses_nothing(tmp_path_factory, name, records, pack, ending):
    """The bytes say what it is."""
    folder = tmp_path_factory.mktemp("renamed")
    kind, write = dialects(folder)[name]
    content = write(records) if kind == "parquet" else PACKS[pack](write(records))
    assert landed(folder, f"a.{ending}", content)[:3] == (len(records), 0, None)


@pytest.mark.parametrize("damage", DAMAGE)
@settings(max_examples=15, deadline=None, phases=PHASES, suppress_health_check=SOME)
@given(
    records=RECORDS,
    name=st.sampled_from(NAMES),
    pack=st.sampled_from(list(PACKS)),
    at=st.floats(0, 1, exclude_max=True),
    is_inside=st.booleans(),
    ending=st.none() | st.sampled_from(ENDINGS),
)
def test_a_damaged_file_is_never_read_as_nothing(tmp_path_factory, damage, records, name, pack, at, is_inside, ending):
    """A file with bytes in it yields records, rejections or is unreadable, and nothing that nobody wrote."""
    folder = tmp_path_factory.mktemp("damaged")
    kind, write = dialects(folder)[name]
    pack = "" if kind == "parquet" else pack
    content = write(records)
    content = PACKS[pack](DAMAGE[damage](content, at)) if is_inside else DAMAGE[damage](PACKS[pack](content), at)
    landed_as = landed(folder, f"a.{ending or kind + pack}", content)
    assert problem_of_damaged(landed_as, records, content, kind) == ""
