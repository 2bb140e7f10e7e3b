"""NDJSON of the nested entities at columnar speed: lines are decoded, written back, compared, and read as columns.

A line that one of the usual JSON writers would write to the letter is what it was decoded as: no key twice, no number
that changed on the way. Every other line, and every record with a value that is not plainly good, is left to the slow
path: as everywhere here, this module may only say "yes, and these are the values" or "ask".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.landing import columns
from pipelines.landing.batches import Batch, Rows, with_tables
from pipelines.landing.columns import Mask, ValueCache
from pipelines.landing.lines import MAX_LINE_BYTES, Block, lines_of
from pipelines.landing.mapping import UNMAPPED, EntityMapping, mapped_spellings
from pipelines.landing.ndjson import ReadLine, read_line
from pipelines.landing.records import Acceptor, count_unknown
from pipelines.landing.schema import (
    RAW_SCHEMAS,
    RECORDS,
    Instant,
    JsonArray,
    JsonObject,
    LandedField,
    Money,
    landed_fields,
)
from pipelines.landing.values import (
    EXTENDED_KEYS,
    MAX_DEPTH,
    MAX_NUMBER_CHARS,
    Rejected,
    compact_json,
    parse_instant,
    parse_json,
)

PART_LINES = 4096  # made into columns at a time
_DECODED_LINES = 64  # decoded at a time: the objects of more take ten times the memory of their text, and no cache
MAX_UNKNOWN = 100  # different fields in a part that the contract does not know; of more, the slow path keeps count

Object = dict[str, Any]


class _Writer(NamedTuple):
    """How a program writes JSON: `line` as it does, `compact` without spaces and escapes, and with its numbers."""

    line: Callable[[Any], bytes]
    compact: Callable[[Any], bytes]


_encode = msgspec.json.Encoder().encode


def _json_encoder(*, ensure_ascii: bool, separators: tuple[str, str]) -> Callable[[Any], bytes]:
    encode = json.JSONEncoder(ensure_ascii=ensure_ascii, check_circular=False, separators=separators).encode
    return lambda value: encode(value).encode()


_COMPACT, _SPACED = (",", ":"), (", ", ": ")
_PYTHON = _json_encoder(ensure_ascii=False, separators=_COMPACT)
_WRITERS = (
    _Writer(_encode, _encode),
    _Writer(lambda value: msgspec.json.format(_encode(value), indent=0), _encode),
    _Writer(_json_encoder(ensure_ascii=True, separators=_SPACED), _PYTHON),
    _Writer(_json_encoder(ensure_ascii=True, separators=_COMPACT), _PYTHON),
)


class JsonColumns:
    """Reads the blocks of one file. Several threads may read blocks at once."""

    def __init__(self, entity: str, mapping: EntityMapping = UNMAPPED) -> None:
        self.entity = entity
        self._mapping = mapping
        self._schema = RAW_SCHEMAS[entity].remove(RAW_SCHEMAS[entity].get_field_index("line"))
        self._spellings = mapped_spellings(entity, mapping)
        self._renamed = frozenset(landed for landed, _ in mapping.rename)
        self._json_fields = {
            each.name: dict if each.kind is JsonObject else list
            for each in landed_fields(entity)
            if each.kind in (JsonObject, JsonArray)
        }
        self._acceptor = Acceptor(entity, mapping)
        self._known = {each.name: ValueCache() for each in landed_fields(entity)}
        self._constants: dict[str, Any] | None  # by column, what stands in folders; None: what no record can have
        try:
            self._constants = self._acceptor.folder_values()
        except Rejected:
            self._constants = None

    def read(self, block: Block, read_line: ReadLine = read_line) -> Batch:
        """The records of a block: what `read_piece` would give, sooner. `read_line` is the slow path."""
        rows = Rows(self.entity, self._mapping)
        lines = [line.removesuffix(b"\r") for line in lines_of(block.data)]
        tables, left = self.match(lines, block.first_line, rows)
        for place in left:
            read_line(block.first_line + place, lines[place], rows)
        return with_tables(rows.batch(), tables)

    def match(self, lines: Sequence[bytes], first_line: int, rows: Rows) -> tuple[list[pa.Table], list[int]]:
        """The rows of those lines that are plainly good, and the places of the others, from 0.

        The fields of the good ones that the contract does not know are counted in `rows`.
        """
        if self._constants is None:
            return [], list(range(len(lines)))
        tables: list[pa.Table] = []
        left = set(range(len(lines)))
        for start in range(0, len(lines), PART_LINES):
            for found in self._found(lines[start : start + PART_LINES], start):
                table, mask = self._table(found, rows)
                places = found.places if mask is None else pa.array(found.places).filter(mask).to_pylist()
                left.difference_update(places)
                tables.append(
                    table.append_column("line", pa.array([first_line + place for place in places], pa.int64()))
                )
        return tables, sorted(left)

    def _found(self, lines: Sequence[bytes], start: int) -> Iterable[_Found]:
        """What stands in those lines that a writer would write so, by it. The first one's place is `start`."""
        by_writer: dict[_Writer, _Found] = {}
        for at in range(0, len(lines), _DECODED_LINES):
            for writer, objects in _decoded(lines[at : at + _DECODED_LINES]).items():
                if writer not in by_writer:
                    by_writer[writer] = _Found(self._spellings, self._renamed, self._json_fields, writer.compact)
                by_writer[writer].add([start + at + place for place in objects], list(objects.values()))
        return by_writer.values()

    def _table(self, found: _Found, rows: Rows) -> tuple[pa.Table, Mask]:
        """The rows of those records that are plainly good, and which they are (None: all)."""
        count = len(found.places)
        folders = {field for field, _ in self._mapping.in_folders}
        if len(found.unknown) > MAX_UNKNOWN or folders & found.columns.keys():
            return self._schema.empty_table(), pa.repeat(False, count)
        assert self._constants is not None
        mask = found.mask()
        values: dict[str, pa.Array] = {}
        for field in landed_fields(self.entity):
            kind = self._schema.field(field.column).type
            if field.name not in found.columns:
                constant = self._constants.get(field.column, field.default)
                values[field.column] = columns.constant(constant, kind, count)
                good: Mask = pa.repeat(False, count) if field.required and constant is None else None
            else:
                values[field.column], good = self._column(field, found.columns[field.name], kind, found.compact)
            mask = columns.both(mask, good)
        mask = columns.both(mask, columns.none_if_all(RECORDS[self.entity].hold(values)))
        table = pa.Table.from_arrays([values[name] for name in self._schema.names], names=self._schema.names)
        if mask is not None:
            mask = pc.fill_null(mask, False)
            table = table.filter(mask)
        for name, times in found.unknown_counts(mask):
            count_unknown(rows.acceptor.unknown_fields, name, times)
        return table.cast(self._schema), mask

    def _column(
        self, field: LandedField, landed: list[Any], kind: pa.DataType, compact: Callable[[Any], bytes]
    ) -> tuple[pa.Array, Mask]:
        """The values of a field, and which of them are good."""
        values, good = self._typed(field, landed, kind, compact)
        if field.required:
            good = columns.both(good, columns.none_if_all(values.is_valid()))
        elif field.default is not None:
            values = pc.fill_null(values, pa.scalar(field.default, kind))
        return values, None if good is None else pc.fill_null(good, not field.required)

    def _typed(
        self, field: LandedField, landed: list[Any], kind: pa.DataType, compact: Callable[[Any], bytes]
    ) -> tuple[pa.Array, Mask]:
        if field.kind in (JsonObject, JsonArray):
            return _json_texts(landed, self._json_fields[field.name])
        kinds = set(map(type, landed)) - {type(None)}
        wrapper = None
        if kinds == {dict} and (unwrapped := _unwrapped(landed, _WRAPPERS.get(field.kind, ()))) is not None:
            wrapper, landed = unwrapped
            kinds = {str}
        if kinds <= {bool} and field.kind is bool:
            return pa.array(landed, kind), None
        if kinds <= {int, float} and field.kind is Money:
            return columns.amounts(pa.array([None if each is None else repr(each) for each in landed], pa.string()))
        if kinds <= {str} and not (field.choices and wrapper):
            texts = pa.array(landed, pa.string())
            is_id: Mask = None
            if wrapper == "$oid":
                is_id = columns.none_if_all(pc.match_substring_regex(texts, r"\A[0-9a-fA-F]{24}\z"))
            if field.kind is Instant and wrapper:
                return columns.instants_or_null(texts, parse_instant)
            if field.kind is Money and wrapper:
                return columns.amounts(texts)
            texts = columns.without_null_spellings(texts, self._mapping.null)
            if field.kind is str and not field.choices:
                fit = columns.fits(texts, field, is_null_named=self._mapping.null is not None)
                return texts, columns.both(is_id, fit)
            if field.kind is Instant:
                return columns.instants_or_null(texts, self._acceptor.instant)
            if field.kind is Money:
                return columns.amounts(texts)
        return self._by_text(
            field,
            landed if wrapper is None else [None if each is None else {wrapper: each} for each in landed],
            kind,
            compact,
        )

    def _by_text(
        self, field: LandedField, landed: list[Any], kind: pa.DataType, compact: Callable[[Any], bytes]
    ) -> tuple[pa.Array, Mask]:
        """Each different value by the slow path's own rules."""

        def value(text: str | None) -> Any:
            if text is None:
                return None
            (parsed,) = parse_json(f"[{text}]")
            return self._acceptor.value(field, parsed)

        texts = pa.array([None if each is None else compact(each) for each in landed], pa.string())
        return columns.by_distinct_value(texts, kind, value, self._known[field.name])


class _Found:
    """What stands in the fields of some records, whatever each of them leaves out."""

    def __init__(
        self,
        spellings: Mapping[str, str],
        renamed: Collection[str],
        json_fields: Mapping[str, type],
        compact: Callable[[Any], bytes],
    ) -> None:
        """`json_fields`: the fields that hold JSON, and whether it is a dict or a list."""
        self.places: list[int] = []  # of the records' lines
        self.columns: dict[str, list[Any]] = {}  # by field, a value a record; of JSON its compact text, or _OTHER
        self.unknown: dict[str, list[int]] = {}  # by a field that the contract does not know: which records have it
        self.compact = compact
        self._spellings = spellings
        self._renamed = renamed
        self._json_fields = json_fields
        self._bad: set[int] = set()

    def add(self, places: Sequence[int], objects: Sequence[Object]) -> None:
        """Add the next records."""
        start = len(self.places)
        self.places += places
        self._collect(objects, "", start, set())
        for values in self.columns.values():
            values.extend([None] * (len(self.places) - len(values)))

    def _collect(self, objects: Sequence[Object], prefix: str, start: int, seen: set[str]) -> None:
        for key, landed in _by_key(objects):
            name = self._spellings.get(prefix + key)
            if name is None or (prefix == "" and "." in key and key not in self._renamed):
                there = [number for number, each in enumerate(objects, start) if key in each]
                self.unknown.setdefault(prefix + key, []).extend(there)
                continue
            if name in seen:  # by another spelling too: the slow path judges
                self._bad.update(number for number, each in enumerate(objects, start) if key in each)
                continue
            seen.add(name)
            if name.endswith("."):
                self._bad.update(
                    number for number, each in enumerate(landed, start) if each is not None and type(each) is not dict
                )
                self._collect([each if type(each) is dict else _NO_FIELDS for each in landed], name, start, seen)
                continue
            values = self.columns.setdefault(name, [])
            values += [None] * (start - len(values))
            values += self._as_text(landed, kind) if (kind := self._json_fields.get(name)) else landed

    def _as_text(self, landed: Iterable[Any], kind: type) -> list[Any]:
        compact = self.compact
        return [None if each is None else compact(each) if type(each) is kind else _OTHER for each in landed]

    def mask(self) -> Mask:
        """Which of the records give no field twice, and have objects where those are to be."""
        return pa.array([number not in self._bad for number in range(len(self.places))]) if self._bad else None

    def unknown_counts(self, mask: Mask) -> Iterator[tuple[str, int]]:
        """The fields that the contract does not know, and how many of the good records have each."""
        good = None if mask is None or not self.unknown else mask.to_pylist()
        for name, there in self.unknown.items():
            if times := len(there) if good is None else sum(good[number] for number in there):
                yield name, times


def _by_key(objects: Sequence[Object]) -> Iterable[tuple[str, Sequence[Any]]]:
    """What the objects have by each key that one of them has; None for those that have it not."""
    keys = list(dict.fromkeys(chain.from_iterable(objects)))
    if len(keys) > 1 and all(len(each) == len(keys) for each in objects):  # then each has all of them
        return zip(keys, zip(*map(itemgetter(*keys), objects), strict=True), strict=True)
    return ((key, [each.get(key) for each in objects]) for key in keys)


_NO_FIELDS: Object = {}
_OTHER = object()  # stands where a value is not of its field's kind


# --- lines ----------------------------------------------------------------------------------------------------------


def _decoded(lines: Sequence[bytes]) -> dict[_Writer, dict[int, Object]]:
    """The objects of those lines that a writer would write so, by it; each by its place among the lines."""
    if at_once := _decoded_at_once(lines):
        writer, objects = at_once
        return {writer: dict(enumerate(objects))}
    found: dict[_Writer, dict[int, Object]] = {}
    writers = list(_WRITERS)  # the one that wrote the line before comes first
    for place, line in enumerate(lines):
        if len(line) > MAX_LINE_BYTES or _is_deep(line) or _has_long_number(line):
            continue
        try:
            landed = _decode(line)
        except _DECODING_ERRORS:
            continue
        if type(landed) is not dict:
            continue
        for number, writer in enumerate(writers):
            if writer.line(landed) == line:  # safeguard: decoded-line-is-what-was-written
                if number:
                    writers.insert(0, writers.pop(number))
                found.setdefault(writer, {})[place] = landed
                break
    return found


def _decoded_at_once(lines: Sequence[bytes]) -> tuple[_Writer, list[Object]] | None:
    """The objects of all lines, if one of the first two writers would write each of them so; and which.

    An array of the lines is compared as a whole: each is one object, so that no two of them can make up for each other.
    """
    text = b"\n".join([*lines, b""])
    if len(text) > MAX_LINE_BYTES or _has_long_number(text) or any(map(_is_deep, lines)):
        return None
    try:
        landed = _decode_lines(text)
    except _DECODING_ERRORS:
        return None
    if len(landed) != len(lines) or set(map(type, landed)) != {dict}:
        return None
    compact, spaced = _WRITERS[:2]
    written = _encode(landed)
    if written == b"[%b]" % b",".join(lines):  # safeguard: decoded-lines-are-what-was-written
        return compact, landed
    # safeguard: decoded-spaced-lines-are-what-was-written
    if msgspec.json.format(written, indent=0) == b"[%b]" % b", ".join(lines):
        return spaced, landed
    return None


_decode, _decode_lines = msgspec.json.Decoder().decode, msgspec.json.Decoder().decode_lines
_DECODING_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def _is_deep(line: bytes) -> bool:
    """Whether a line may be nested too deep."""
    return line.count(b"{") + line.count(b"[") > MAX_DEPTH  # safeguard: decoded-depth-limited


def _has_long_number(text: bytes) -> bool:
    """Whether a text may hold a number that is too long."""
    half = MAX_NUMBER_CHARS // 2  # whatever is twice as long holds all of one of these parts
    # safeguard: decoded-number-limited
    return True in [text[at : at + half].isdigit() for at in range(0, len(text), half)]


# --- values ---------------------------------------------------------------------------------------------------------

# Of Extended JSON, what holds a text that is read as a column.
_WRAPPERS: dict[type, tuple[str, ...]] = {str: ("$oid",), Instant: ("$date",), Money: ("$numberDecimal",)}


def _unwrapped(landed: Sequence[Object | None], wrappers: Sequence[str]) -> tuple[str, list[str | None]] | None:
    """The texts in objects that are all the same wrapper, and which; None if they are not."""
    for wrapper in wrappers:
        if all(each is None or (len(each) == 1 and type(each.get(wrapper)) is str) for each in landed):
            return wrapper, [None if each is None else each[wrapper] for each in landed]
    return None


def _json_texts(landed: Sequence[Any], kind: type) -> tuple[pa.Array, Mask]:
    """Objects, or lists, as compact JSON, Extended JSON in them collapsed: what `compact_json` gives."""
    texts = [None if each is _OTHER else each for each in landed]
    good = [each is not _OTHER for each in landed]
    for place, text in enumerate(texts):
        if text is not None and _MAY_BE_EXTENDED in text:
            texts[place] = collapsed = _collapsed(text)
            good[place] = collapsed is not None and collapsed.startswith(b"{" if kind is dict else b"[")
    return pa.array(texts, pa.string()), None if all(good) else pa.array(good)


def _collapsed(text: bytes) -> bytes | None:
    """Compact JSON with the usual Extended JSON in it collapsed; None where there is more of that.

    No string of the text can hold what is looked for: a quotation mark in it would stand behind a backslash.
    """
    try:
        text = _EXTENDED.sub(_collapsed_one, text)
    except Rejected:
        return None
    return None if _LEFT_EXTENDED.search(text) else text


def _collapsed_one(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return b'"' + found[1] + b'"'
    return compact_json(parse_json(found[0].decode())).encode()


_MAY_BE_EXTENDED = b'{"$'
_EXTENDED = re.compile(
    rb'\{"\$(?:oid":"([0-9a-fA-F]{24})"|date":(?:"[^"\\]*"|-?[0-9]+|\{"\$numberLong":"-?[0-9]+"\})'
    rb'|number(?:Long|Int|Double|Decimal)":"[^"\\]*")\}'
)
_LEFT_EXTENDED = re.compile(rb'\{"(?:' + b"|".join(re.escape(key.encode()) for key in sorted(EXTENDED_KEYS)) + rb')":')
