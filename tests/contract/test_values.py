"""Single values as the documents write them, against Python's own arithmetic."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.api import envelope
from pipelines.api.messages import matches_etag, query_values
from pipelines.api.responses import json_value, with_instants_as_text

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# from the year 1 to the year 9999
instants = st.integers(-62_135_500_000_000, 253_402_200_000_000).map(lambda ms: EPOCH + timedelta(milliseconds=ms))


@given(st.lists(st.none() | instants, min_size=1, max_size=20))
def test_instants_as_text(values: list[datetime | None]) -> None:
    """Three digits of milliseconds, or cut (never rounded) to the second, for every year with four digits."""
    for unit in ("ms", "us"):
        table = pa.table({"at": pa.array(values, pa.timestamp(unit, tz="UTC")), "n": [1] * len(values)})
        for to, spec in (("ms", "milliseconds"), ("s", "seconds")):
            texts = with_instants_as_text(table, to)["at"].to_pylist()
            expected = [value and value.replace(tzinfo=None).isoformat(timespec=spec) + "Z" for value in values]
            assert texts == expected


@given(instants)
def test_instant_of_an_answer(value: datetime) -> None:
    milliseconds = (value - EPOCH) // timedelta(milliseconds=1)
    expected = value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    assert envelope.instant(milliseconds).decode() == expected
    assert len(expected) == envelope.INSTANT_BYTES


@given(st.decimals(-(10**15), 10**15, places=2))
def test_decimals_are_short_and_exact(value: Decimal) -> None:
    text = json_value(value).decode()
    assert Decimal(text) == value
    assert "e" not in text.lower()
    assert text == "0" or not text.startswith("-0") or "." in text
    assert "." not in text or text[-1] != "0"
    json.loads(text)


@given(st.text(), st.text())
def test_text_in_errors_and_bodies_is_json(one: str, other: str) -> None:
    body = envelope.failure(503, 0, one or None)
    assert json.loads(body)["errors"] == [one or "No snapshot has been published yet"]
    assert json.loads(json_value(other)) == other


@given(st.binary(max_size=60))
def test_any_query_can_be_read(query: bytes) -> None:
    """Whatever is sent, it is read or refused with ValueError."""
    try:
        values = query_values(query, b"limit")
    except ValueError:
        return
    assert all(isinstance(value, str) for value in values)


@given(st.lists(st.binary(max_size=40), max_size=3))
def test_any_if_none_match_can_be_read(lines: list[bytes]) -> None:
    assert matches_etag([*lines, b'W/"a"'], b'W/"a"') in (True, False)
    assert not matches_etag([b'"b", W/"c"'], b'W/"a"')
