"""Whole columns of landed text to typed columns, with a mask of the values that the slow path has to judge.

Every function here may only say "yes, and this is the value" or "ask": what it accepts, `values.py` accepts with the
same result. A mask is None where every value is good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing.records import IDS_OF_PERSONS, NULL_SPELLINGS, ROUNDED_ID
from pipelines.landing.schema import LandedField
from pipelines.landing.values import FIRST_INSTANT, LAST_INSTANT, Rejected, parse_instant

Mask: TypeAlias = pa.Array | None
INSTANT_TYPE = pa.timestamp("ms", "UTC")
AMOUNT_TYPE = pa.decimal128(18, 2)

DIGITS_TO_ZERO = bytes.maketrans(b"0123456789", b"0000000000")
_SHAPES = frozenset(
    f"0000-00-00{between}00:00:00{fraction}{offset}".encode()
    for between in "T "
    for fraction in ("", ".000", ".000000")
    for offset in ("Z", "+00:00", "-00:00", "+00", "+0000")
)
_LENGTHS = frozenset(map(len, _SHAPES))
_MAX_LENGTHS = 6  # of the instants in one column, before they are parsed one by one
_FILLER = 0  # stands where a value is not good; its row is left out


def both(left: Mask, right: Mask) -> Mask:
    """Where both masks are good."""
    if left is None or right is None:
        return right if left is None else left
    return pc.and_(left, right)


def none_if_all(mask: Mask) -> Mask:
    """None for a mask that is true everywhere."""
    return None if mask is None or pc.all(mask).as_py() in (True, None) else mask


def not_empty(column: pa.Array) -> Mask:
    """Where a text is not empty."""
    return none_if_all(pc.greater(pc.binary_length(column), 0))


def fits(texts: pa.Array, field: LandedField, *, is_null_named: bool = False) -> Mask:
    """Where texts are as long as the field may be, and no null in disguise (unless it is named what is null)."""
    if field.max_chars is None:
        return None
    size = pc.min_max(pc.binary_length(texts)).as_py()  # in bytes: what fits so, fits
    if size["min"] is None:
        return None
    good: Mask = None
    if field.column in IDS_OF_PERSONS:
        good = _not_rounded(texts, size["min"])
    if field.column in IDS_OF_PERSONS and not is_null_named:
        good = both(good, _names_somebody(texts, size["min"], size["max"]))
    if size["min"] >= field.min_chars and size["max"] <= field.max_chars:
        return good
    chars = pc.utf8_length(texts)
    fit = pc.and_(pc.greater_equal(chars, field.min_chars), pc.less_equal(chars, field.max_chars))
    return both(good, none_if_all(pc.fill_null(fit, True)))


def _names_somebody(texts: pa.Array, shortest: int, longest: int) -> Mask:
    """Where ids, of so many bytes, are none of NULL_SPELLINGS.

    Most ids have one length, and few spellings have it.
    """
    lengths = {shortest, longest}
    if shortest < longest and not _NULL_LENGTHS.isdisjoint(range(shortest, longest + 1)):
        lengths.update(pc.unique(pc.binary_length(texts)).to_pylist())
    likely = [each for each in NULL_SPELLINGS if len(each) in lengths]
    return none_if_all(pc.invert(pc.is_in(texts, pa.array(likely, texts.type)))) if likely else None


def _not_rounded(texts: pa.Array, shortest: int) -> Mask:
    """Where ids are no rounded number."""
    if shortest > _MAX_ROUNDED_BYTES or not pc.any(pc.match_substring(texts, "+")).as_py():
        return None
    return none_if_all(pc.fill_null(pc.invert(pc.match_substring_regex(texts, f"^{ROUNDED_ID.pattern}$")), True))


_MAX_ROUNDED_BYTES = 24  # the longest shortest form of a float has as many
_NULL_LENGTHS = frozenset(map(len, NULL_SPELLINGS))


def without_null_spellings(texts: pa.Array, null: Sequence[str] | None) -> pa.Array:
    """The texts, null where they are one of those that a mapping says are null."""
    if not null:
        return texts
    return pc.if_else(pc.is_in(texts, pa.array(null, texts.type)), pa.scalar(None, texts.type), texts)


def constant(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    """A column that holds one value, or null, in every row."""
    return pa.nulls(rows, kind) if value is None else pa.repeat(pa.scalar(value, kind), rows)


def filtered(places: pa.Array | None, mask: pa.Array) -> pa.Array:
    """The places (None: all) where the mask is good."""
    return (pa.arange(0, len(mask)) if places is None else places).filter(mask)


class ValueCache:
    """The values of texts, so that each text is judged once. Threads share it."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._lock = threading.Lock()

    def values(self, texts: Sequence[str], value_of: Callable[[str], Any]) -> list[Any]:
        """The value of each text, _BAD where `value_of` raises Rejected."""
        with self._lock:
            known = {text: self._values[text] for text in texts if text in self._values}
        new = {text: _judged(text, value_of) for text in texts if text not in known}
        with self._lock:
            if len(self._values) > _MAX_CACHED:
                self._values.clear()
            self._values.update(new)
        known.update(new)
        return [known[text] for text in texts]


def _judged(text: str, value_of: Callable[[str], Any]) -> Any:
    try:
        return value_of(text)
    except Rejected:
        return _BAD


_BAD = object()
_MAX_CACHED = 1 << 16


def by_distinct_value(
    column: pa.Array, kind: pa.DataType, value_of: Callable[[str], Any], known: ValueCache
) -> tuple[pa.Array, Mask]:
    """Every value through `value_of`, which raises Rejected; each distinct one once. `known` keeps them."""
    encoded = pc.dictionary_encode(column)
    values = known.values(encoded.dictionary.to_pylist(), value_of)
    good = [value is not _BAD for value in values]
    typed = pa.array([None if value is _BAD else value for value in values], kind).take(encoded.indices)
    return typed, None if all(good) else pa.array(good).take(encoded.indices)


# --- instants ---------------------------------------------------------------------------------------------------


ParseInstant: TypeAlias = Callable[[str], Any]  # raises Rejected


def instants(column: pa.Array, parse: ParseInstant = parse_instant) -> tuple[pa.Array, Mask]:
    """RFC 3339 texts as instants: by shape where all of a length have one of the usual shapes, else one by one.

    `parse` says what any other text is.
    """
    if not len(column):
        return pa.array([], INSTANT_TYPE), None
    lengths = pc.binary_length(column)
    shortest_longest = pc.min_max(lengths).as_py()
    if shortest_longest["min"] == shortest_longest["max"]:
        return _instants_of_one_length(column, shortest_longest["max"], parse)
    kinds = pc.unique(lengths).to_pylist()
    if len(kinds) > _MAX_LENGTHS:
        return _instants_one_by_one(column, parse)
    places, parts, masks = [], [], []
    for length in kinds:
        place = pc.indices_nonzero(pc.equal(lengths, length))
        values, mask = _instants_of_one_length(column.take(place), length, parse)
        places.append(place)
        parts.append(values)
        masks.append(pa.repeat(True, len(values)) if mask is None else mask)
    back = pc.sort_indices(pa.concat_arrays(places))
    return pa.concat_arrays(parts).take(back), none_if_all(pa.concat_arrays(masks).take(back))


def instants_or_null(texts: pa.Array, parse: ParseInstant = parse_instant) -> tuple[pa.Array, Mask]:
    """As `instants`, of texts that may be null."""
    if not texts.null_count:
        return instants(texts, parse)
    values, mask = instants(texts.drop_null(), parse)
    valid = texts.is_valid()
    place = pc.if_else(valid, pc.subtract(pc.cumulative_sum(valid.cast(pa.int64())), 1), pa.scalar(None, pa.int64()))
    return values.take(place), None if mask is None else pc.fill_null(mask.take(place), True)


def _instants_of_one_length(column: pa.Array, length: int, parse: ParseInstant) -> tuple[pa.Array, Mask]:
    """Pin every character: digits where the shape has digits, the shape's own characters elsewhere."""
    if length not in _LENGTHS:
        return _instants_one_by_one(column, parse)
    data = text_bytes(column).translate(DIGITS_TO_ZERO)
    shape = data[:length]
    if shape not in _SHAPES or data != shape * len(column):
        return _instants_one_by_one(column, parse)
    fraction_digits = shape[19:].partition(b"+")[0].partition(b"-")[0].count(b"0")
    try:
        values = pc.cast(column, pa.timestamp("us" if fraction_digits == 6 else "ms", "UTC"))
    except pa.ArrowInvalid:  # a 30 February, an hour 24, a leap second
        return _instants_one_by_one(column, parse)
    if fraction_digits == 6:
        values = pc.floor_temporal(values, unit="millisecond").cast(INSTANT_TYPE)
    bounds = pc.min_max(values.view(pa.int64())).as_py()
    if bounds["min"] < FIRST_INSTANT or bounds["max"] > LAST_INSTANT:
        return _instants_one_by_one(column, parse)
    return values, None


def _instants_one_by_one(column: pa.Array, parse: ParseInstant) -> tuple[pa.Array, Mask]:
    values: list[int] = []
    good: list[bool] = []
    for text in column.to_pylist():
        try:
            values.append(parse(text))
            good.append(True)
        except Rejected:
            values.append(_FILLER)
            good.append(False)
    return pa.array(values, pa.int64()).view(INSTANT_TYPE), None if all(good) else pa.array(good)


# --- amounts ----------------------------------------------------------------------------------------------------


def amounts(texts: pa.Array) -> tuple[pa.Array, Mask]:
    """Plain decimal texts below 10^12, of at most two decimals, as amounts; what is written otherwise is not good."""
    good = none_if_all(pc.match_substring_regex(texts, _PLAIN_AMOUNT))
    if good is not None:
        texts = pc.if_else(pc.fill_null(good, True), texts, pa.scalar("0", pa.string()))
    return pc.cast(texts, AMOUNT_TYPE), good


_PLAIN_AMOUNT = r"\A(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,2})?\z"


def text_bytes(column: pa.Array) -> bytes:
    """The texts of an array of strings or of binary values without nulls, one after the other."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return b""
    bounds = memoryview(offsets).cast("i")
    return bytes(memoryview(data)[bounds[column.offset] : bounds[column.offset + len(column)]])
