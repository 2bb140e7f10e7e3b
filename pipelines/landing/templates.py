"""The shape of one accepted line of JSON, learned so that a whole block of such lines can be read as columns.

A line without backslashes, split at its quotation marks, falls into pieces: every second one is the content of a
string, the others are the punctuation, numbers, true, false and null between strings. In lines of the same shape most
pieces are the same, byte for byte: keys, punctuation, spacing. The rest are slots. So a line whose fixed pieces are
those of an accepted line, and whose slots hold good values, would be accepted as that line was.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass

from pipelines.landing.columns import ValueCache
from pipelines.landing.records import spellings
from pipelines.landing.schema import Instant, LandedField, landed_fields

QUOTE = '"'
_TOKEN = re.compile(r'"|[{}\[\],:]|[^\s{}\[\],:"]+')


@dataclass(frozen=True)
class Slot:
    """A piece that varies: a string's content, or punctuation around one number, true, false or null."""

    piece: int
    field: LandedField | None  # None: a field that the contract does not know
    wrappers: tuple[str, ...] = ()  # of Extended JSON around the value, outermost first
    before: str = ""  # of the piece, what stands before and after the value; only where it is not a string
    after: str = ""
    is_string: bool = True
    known: ValueCache = dataclasses.field(default_factory=ValueCache, compare=False)  # of its values

    @property
    def is_text(self) -> bool:
        """Whether the piece is the value, needing no look at each."""
        if not self.is_string or self.wrappers:
            return False
        return self.field is None or (self.field.kind is str and not self.field.choices)

    @property
    def is_instant(self) -> bool:
        """Whether the piece is an RFC 3339 text."""
        return self.is_string and self.field is not None and self.field.kind is Instant and len(self.wrappers) <= 1


@dataclass(frozen=True)
class Template:
    """The pieces of a line: how many, which are fixed, which vary."""

    pieces: int
    fixed: dict[int, str]
    slots: tuple[Slot, ...]
    unknown: tuple[str, ...]  # the fields that the contract does not know


def learn(entity: str, line: str) -> Template | None:
    """The template of a line that was accepted, or None if it has none: it has a backslash."""
    if "\\" in line:
        return None
    pieces = line.split(QUOTE)
    reader = _Reader(entity, pieces)
    reader.read_object()
    slots = {slot.piece: slot for slot in reader.slots}
    fixed = {number: piece for number, piece in enumerate(pieces) if number not in slots}
    return Template(len(pieces), fixed, tuple(slots.values()), tuple(reader.unknown))


@dataclass(frozen=True)
class _Token:
    kind: str  # a string, a value, or the punctuation itself
    piece: int
    start: int = 0  # of a value, inside its piece
    text: str = ""


class _Reader:
    """Walks the tokens of one valid line and notes which pieces are values."""

    def __init__(self, entity: str, pieces: list[str]) -> None:
        self.slots: list[Slot] = []
        self.unknown: list[str] = []
        self._pieces = pieces
        self._fields = {each.name: each for each in landed_fields(entity)}
        self._spellings = spellings(entity)
        self._tokens = self._tokenize()
        self._at = 0

    def _tokenize(self) -> list[_Token]:
        tokens: list[_Token] = []
        for number, piece in enumerate(self._pieces):
            if number % 2:
                tokens.append(_Token("string", number, text=piece))
                continue
            for found in _TOKEN.finditer(piece):
                text = found.group()
                tokens.append(_Token(text if text in "{}[],:" else "value", number, found.start(), text))
        return tokens

    def _next(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def read_object(self) -> None:
        """The whole line: `{` key `:` value `,` … `}`."""
        self._next()
        while (key := self._next()).kind == "string":
            self._next()
            name = self._spellings.get(key.text)
            if name is None:
                self.unknown.append(key.text)
            self._read_value(None if name is None else self._fields[name])
            if self._next().kind == "}":
                break

    def _read_value(self, known: LandedField | None) -> None:
        wrappers: list[str] = []
        start = self._at
        token = self._next()
        while token.kind == "{" and known and self._tokens[self._at].kind == "string":
            wrappers.append(self._next().text)
            self._next()
            token = self._next()
        if token.kind in "{[":  # nested, and nothing we know: it stays fixed, whatever is in it
            self._at = start
            self._skip()
            return
        if token.kind == "string":
            self.slots.append(Slot(token.piece, known, tuple(wrappers)))
        else:
            piece = self._pieces[token.piece]
            before, after = piece[: token.start], piece[token.start + len(token.text) :]
            self.slots.append(Slot(token.piece, known, tuple(wrappers), before, after, is_string=False))
        for _ in wrappers:
            self._next()

    def _skip(self) -> None:
        depth = 0
        while True:
            kind = self._next().kind
            depth += kind in ("{", "[")
            depth -= kind in ("}", "]")
            if depth == 0:
                return
