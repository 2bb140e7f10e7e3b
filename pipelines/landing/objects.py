"""JSON values out of a text that does not hold one a line: one after the other, over several lines, in arrays.

Such a text is read as if each value stood on a line of its own; what is no JSON costs its line, or what is left of it.
Where every line holds one value this gives what reading by lines gives, so that which of the two reads a file is a
matter of speed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import pyarrow as pa

from pipelines.landing.files import CorruptionStart, DamagedArchive
from pipelines.landing.lines import (
    BLOCK_BYTES,
    BLOCK_LINES,
    BYTE_ORDER_MARK,
    CORRUPT_ARCHIVE,
    LONG_LINE_TEXT_BYTES,
    MAX_LINE_BYTES,
    Block,
    Damage,
    LongLine,
    Piece,
    Values,
    with_line_feeds,
)

MAX_LOOKED_AT_IN_VAIN = 256 << 20  # beyond the lines of what is no JSON; after that, values end with their lines
_BUFFER_BYTES = 4 << 20  # read at a time; no value may be longer than MAX_LINE_BYTES


class NotByLine(Exception):
    """A line does not hold one JSON value: the file is to be read by values."""


class Value(NamedTuple):
    """One JSON value, or a text that is none. Lines count from 1, columns of bytes from 0."""

    text: bytes
    line: int
    column: int
    end_line: int
    end_column: int  # behind it
    comma: tuple[int, int] | None  # line and column of the comma before it in its array
    array: int  # the number of its array, from 1; 0 outside of one
    is_long: bool  # longer than MAX_LINE_BYTES, and only the beginning


@dataclass
class Scanner:
    """Finds the values of a text in order, holding a few MiB of it."""

    chunks: Iterator[bytes]
    blank: int = 0  # lines without anything, so far
    has_array: bool = False
    problem: str | None = None  # why values may be missing
    problem_line: int = 0
    _text: str = ""  # one letter a byte
    _at: int = 0
    line: int = 1  # at `_at`
    _line_start: int = 0  # in `_text`, perhaps before it
    _ended: bool = False
    _damage: DamagedArchive | None = None
    _in_vain: int = 0
    _line_is_used: bool = False  # something other than white space stands in the line before `_at`
    _arrays: int = 0
    _comma: tuple[int, int] | None = field(default=None)
    _indent: str | None = ""  # all that stands in the line before `_at`, if it is white space
    _element_indent: str | None = None  # of the last object in the array that begins a line
    _lost_indent: str | None = None  # the same of an array that was damaged
    _is_lost: bool = False  # the value before is where it was

    def values(self) -> Iterator[Value]:
        """Every value. Raises DamagedArchive after those that stand before the damage."""
        self._fill(0)
        if self._text.startswith(_MARK):
            self._at, self._line_is_used = len(_MARK), len(self._text) == len(_MARK)
        array = 0  # the one that we are in
        array_line = 0
        is_behind_value = False
        while self._skip_space():
            letter = self._text[self._at]
            self._line_is_used = True
            array = self._array_here(array, letter, is_behind_value)
            is_behind_value = self._is_lost = False
            if not array and letter == "[":
                self._arrays += 1
                array, array_line, self._comma, self.has_array = self._arrays, self.line, None, True
                self._element_indent = self._lost_indent = None
                self._at += 1
            elif array and letter == "]":
                array, self._at = 0, self._at + 1
            elif array and letter == ",":
                self._comma = (self.line, self._at - self._line_start)
                self._at += 1
            else:
                is_behind_value = True
                value = self._value(array)
                if self._damage is None or self._at < len(self._text) or _is_whole(value.text):
                    yield value
        if self._damage is not None:
            raise self._damage
        if array:  # safeguard: array-that-does-not-end
            self._damaged(f"the array that begins on line {array_line:,} does not end", self.line)

    def _value(self, array: int) -> Value:
        """The value that begins here, or what is left of the line without one."""
        self._fill(MAX_LINE_BYTES)
        start = self._at
        if array and self._text[start] == "{" and self._indent is not None:
            self._element_indent = self._indent
        is_within = not array and self._lost_indent is not None  # what was damaged, as it stands otherwise
        end = self._end_of_value(start) if array or (self._text[start] == "{" and not is_within) else None
        if end is not None and self._is_followed_well(end, array):
            is_long = end - start > MAX_LINE_BYTES
            return self._take(end, array, is_long=is_long)
        if array:
            self._lose_array()
        return self._rest_of_line(array)

    def _end_of_value(self, start: int) -> int | None:
        text = self._text
        if self._in_vain > MAX_LOOKED_AT_IN_VAIN:  # safeguard: bad-lines-not-read-on
            text, start = text[start : self._end_of_line(start)], 0
        try:
            _, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as error:
            self._in_vain += max(0, error.pos - self._end_of_line(self._at))
            return None
        except RecursionError:
            self._in_vain += MAX_LINE_BYTES
            return None
        return end if text is self._text else self._at + end

    def _is_followed_well(self, end: int, array: int) -> bool:
        """Whether another value, or the end of the line, follows."""
        match = _IN_LINE_SPACE.match(self._text, end)
        assert match is not None
        following = self._text[match.end() : match.end() + 1]
        return bool(array) or following in ("", "\n", "{", "[")

    def _rest_of_line(self, array: int) -> Value:
        """What is no value: up to where one may follow, at the latest the end of the line."""
        end = self._end_of_line(self._at)
        if match := NEXT_OBJECT.search(self._text, self._at + 1, end):
            return self._take(match.start() + 1, array, is_long=False)
        while end == len(self._text) and not self._ended and end - self._at <= MAX_LINE_BYTES:
            self._fill(end - self._at + 1)
            end = self._end_of_line(self._at)
        if end - self._at <= MAX_LINE_BYTES:
            return self._take(end, array, is_long=False)
        value = self._take(end, array, is_long=True)
        while self._at == len(self._text) and not self._ended:  # the rest of it is not kept
            self._fill(1)
            self._at = self._end_of_line(self._at)
        return value._replace(end_column=self._at - self._line_start)

    def _end_of_line(self, start: int) -> int:
        end = self._text.find("\n", start)
        return len(self._text) if end < 0 else end

    def _take(self, end: int, array: int, *, is_long: bool) -> Value:
        text = self._text[self._at : min(end, self._at + LONG_LINE_TEXT_BYTES) if is_long else end]
        line, column = self.line, self._at - self._line_start
        self._move(end)
        comma, self._comma = self._comma if array else None, None
        return Value(
            text.encode("latin-1"), line, column, self.line, self._at - self._line_start, comma, array, is_long
        )

    def _move(self, end: int) -> None:
        if lines := self._text.count("\n", self._at, end):
            self.line += lines
            self._line_start = self._text.rindex("\n", self._at, end) + 1
        self._at = end

    def _skip_space(self) -> bool:
        """Go to the next letter; whether there is one."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            line = self.line
            space = match[0]
            if "\n" in space:
                self._indent = space[space.rindex("\n") + 1 :]
            else:
                self._indent = None if self._line_is_used else f"{self._indent or ''}{space}"
            self._move(match.end())
            if self.line > line:
                self.blank += self.line - line - self._line_is_used
                self._line_is_used = False
            if self._at < len(self._text):
                return True
            if self._ended:
                self.blank += self._at > self._line_start and not self._line_is_used
                return False
            self._fill(0)

    def _fill(self, wanted: int) -> None:
        """Read on, until so many letters follow or the text ends."""
        if self._ended or len(self._text) - self._at > wanted:
            return
        parts, size = [self._text[self._at :]], 0
        try:
            for chunk in self.chunks:
                parts.append(chunk.decode("latin-1"))
                size += len(chunk)
                if size >= max(wanted, _BUFFER_BYTES):
                    break
            else:
                self._ended = True
        except DamagedArchive as error:
            self._ended, self._damage = True, error
        self._line_start -= self._at
        self._text, self._at = "".join(parts), 0

    def _array_here(self, array: int, letter: str, is_behind_value: bool) -> int:
        """The array that the next letter is in, where we were in `array`: damaged, it ends, or goes on after it was."""
        if array and is_behind_value and letter not in ",]":
            if not self._is_lost:
                self._lose_array()
            array = 0
        if not array and letter == "{" and self._lost_indent is not None and self._lost_indent == self._indent:
            array, self._lost_indent = self._arrays, None  # safeguard: array-goes-on
        return array

    def _lose_array(self) -> None:
        """Note that an array is damaged here, and where its next element may be.

        Behind the damage nothing says what is within a text, or how deep. Only where elements begin on lines of their
        own does an object that begins as they do, behind the same white space, stand beside them: JSON has no line
        end within a text, and writers indent by depth.
        """
        self._damaged("an array is damaged", self.line)
        self._lost_indent, self._is_lost = self._element_indent, True

    def _damaged(self, problem: str, line: int) -> None:
        if self.problem is None:
            self.problem, self.problem_line = problem, line


def _is_whole(text: bytes) -> bool:
    try:
        _DECODER.decode(text.decode("latin-1"))
    except (ValueError, RecursionError):
        return False
    return True


def value_pieces(chunks: Iterable[bytes], corruption: CorruptionStart | None = None) -> Iterator[Piece]:
    """The values of a text in blocks of one a line, with the lines on which they begin; else as `blocks_of_lines`.

    With `corruption` nothing behind the lines that match their checksums is read.
    """
    scanner = Scanner(iter(with_line_feeds(chunks)))
    texts: list[bytes] = []
    lines: list[int] = []
    size = 0

    def block() -> Iterator[Piece]:
        nonlocal size
        blank, scanner.blank = scanner.blank, 0
        data = b"\n".join([*(text.translate(_ONE_LINE) for text in texts), b""])
        yield Values(Block(1, data, len(texts)), pa.array(lines, pa.int64()), blank)
        texts.clear()
        lines.clear()
        size = 0

    damage: Damage | None = None
    try:
        for value in scanner.values():
            if corruption is not None and value.end_line > corruption.verified_lines:
                damage = Damage(value.line, CORRUPT_ARCHIVE)
                break
            if value.is_long:
                yield from block()
                yield LongLine(value.line, value.text, is_value=True)
                continue
            texts.append(value.text)
            lines.append(value.line)
            size += len(value.text)
            if size >= BLOCK_BYTES or len(texts) == BLOCK_LINES:
                yield from block()
    except DamagedArchive as error:
        damage = Damage(scanner.line, f"the archive is damaged: {error}", error.corruption)
    yield from block()
    if damage is not None:
        yield damage
    elif scanner.problem is not None:
        yield Damage(scanner.problem_line, scanner.problem)


_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")  # a line end is white space between the parts of a value
_MARK = BYTE_ORDER_MARK.decode("latin-1")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)  # a number may be as long as it likes
_SPACE = re.compile(r"[ \t\r\n]*(?:\xef\xbb\xbf[ \t\r\n]*)*")  # with the mark of a file that another was put before
_IN_LINE_SPACE = re.compile(r"[ \t\r]*")
NEXT_OBJECT = re.compile(r"\}[ \t]*(?=\{)")  # never within an object
