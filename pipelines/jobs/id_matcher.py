"""Match the ids of users, as whole words, in bytes, text and landed records: one id, or many in one pass."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import polars as pl
import pyarrow as pa

from pipelines.landing import LandedFile
from pipelines.landing.lines import MAX_LINE_BYTES
from pipelines.landing.mapping import COMMA, UNMAPPED, EntityMapping
from pipelines.landing.schema import landed_fields
from pipelines.landing.values import shown_object_id
from pipelines.raw.erasure_register import PERSON, strings_in

_DELIMITERS = ",;|"  # that may stand in an id, besides that of a mapping
_ESCAPE = b"\\u"  # in JSON: any letter of an id may be written as one

# Fields of a landed record in which the same text is not the person: what they watched is the creator's, and a device
# that is named like somebody is a device.
_OF_OTHERS = {"creatorid", "deviceid", "sessionid", "streamid", "pledgeid", "source"}


LEAST_IN_BASE64 = 3  # bytes of an id that is looked for there: of fewer, any long text holds the letters everywhere


@dataclass(frozen=True)
class IdMatcher:
    """Matches one user's id, as a whole word, in bytes, text and records."""

    user: str
    mapping: EntityMapping = UNMAPPED  # of the landed file whose records are looked at
    owns_all: bool = False  # the folder that the file stands in says that each of its records is the user's

    def of_file(self, file: LandedFile) -> IdMatcher:
        """The matcher of a landed file's records, which are read as a run reads them."""
        person = next((each.name for each in landed_fields(file.entity) if each.column == PERSON[file.entity]), None)
        return replace(self, mapping=file.mapping, owns_all=(person, self.user) in file.mapping.in_folders)

    @cached_property
    def _spellings(self) -> list[bytes]:
        plain = (self.user, json.dumps(self.user)[1:-1], json.dumps(self.user, ensure_ascii=False)[1:-1])
        spellings = {*plain, *(each.replace("/", "\\/") for each in plain)}
        spellings |= {self.user.replace(quote, 2 * quote) for quote in {'"', "'", self.mapping.quote or '"'}}
        spellings |= set(self._escaped_in_csv)  # safeguard: ids-sought-as-csv-escapes-them
        in_latin_1 = [] if any(letter > "\xff" for letter in self.user) else [self.user.encode("latin-1")]
        return sorted({*map(encoded, spellings), *in_latin_1})

    @property
    def _escaped_in_csv(self) -> Iterator[str]:
        """As a dialect of CSV without quotation marks writes it, in which a backslash escapes."""
        escaped = json.dumps(self.user, ensure_ascii=False)[1:-1].replace('\\"', '"')
        yield escaped
        for delimiter in {*_DELIMITERS, self.mapping.delimiter or COMMA} & set(self.user):
            one = escaped.replace(delimiter, "\\" + delimiter)
            yield from (one, one.replace("'", "\\'"))
        yield escaped.replace("'", "\\'")  # of ClickHouse

    @cached_property
    def _escaped_word(self) -> re.Pattern[bytes]:
        spellings = map(re.escape, self._spellings)
        return _as_word(b"|".join([*spellings, b"".join(map(_escaped, self.user))]))

    def is_in_bytes(self, content: bytes) -> bool:
        """Whether it is a word of its own in some bytes: u1 is not in u12."""
        return self.owns_all or self._is_in(content, 0, is_end=True)

    @cached_property
    def _base64(self) -> list[tuple[bytes, int, int]]:
        """(what base64 always has of the id, how many of its bytes stand before the id in a group, where it begins)"""
        user = encoded(self.user)
        if len(user) < LEAST_IN_BASE64:
            return []
        found = []
        for before in range(3):
            first, end = -(-before * 8 // 6), (before + len(user)) * 8 // 6
            found.append((base64.b64encode(bytes(before) + user)[first:end], before, first))
        return [each for each in found if each[0]]

    def is_in_base64(self, content: bytes, *, is_start: bool = True, is_end: bool = True) -> bool:
        """Whether it is a word of its own in what is written as base64.

        What goes on before the content, or behind it, is said by `is_start` and `is_end`: where the letters beside the
        id are not all there, the piece that has them decides.
        """
        if not self._base64:
            return False
        plain = _in_plain_base64(content if is_end else content.removesuffix(b"\\"))
        for fixed, before, first in self._base64:
            length = self._base64_length(before)
            at = plain.find(fixed)
            while at >= 0:
                group = at - first
                # safeguard: base64-across-pieces
                is_whole = (is_start or group >= 4) and (is_end or group + length <= len(plain))
                if is_whole and group >= 0:
                    text = _group_before(plain, group) + _from_base64(plain[group : group + length])
                    if self.is_in_bytes(text):
                        return True
                at = plain.find(fixed, at + 1)
        return False

    def _base64_length(self, before: int) -> int:
        """How many letters hold the id, `before` bytes ahead of it and the one behind it."""
        return 4 * -(-(before + len(encoded(self.user)) + 1) // 3)

    def is_in_chunks(self, chunks: Iterable[bytes]) -> bool:
        """The same of bytes that come in pieces, wherever they are cut and however long the id is."""
        return any(
            self.is_in_piece(seen, decided, is_end=is_end, is_text=False, is_escaped=False)
            for seen, decided, is_end in _overlapping(chunks, self.kept_of_bytes)
        )

    def is_in_text(self, chunks: Iterable[bytes]) -> bool:
        """The same of a text that may be JSON: also with letters of the id as JSON escapes, and in base64."""
        return any(
            self.is_in_piece(seen, decided, is_end=is_end, is_text=True, is_escaped=_ESCAPE in seen)
            for seen, decided, is_end in _overlapping(chunks, self.kept_of_text)
        )

    @property
    def kept_of_bytes(self) -> int:
        """How many bytes of one piece are looked at again with the next: a spelling and a byte on either side."""
        return max(map(len, self._spellings)) + 12

    @property
    def kept_of_text(self) -> int:
        """The same of a text in which each letter may be an escape, and each of base64 a slash behind a backslash."""
        return max(_MAX_ESCAPED_BYTES * len(self.user) + 12, 2 * (4 + self._base64_length(2)) + 2)

    def is_in_piece(self, seen: bytes, decided: int, *, is_end: bool, is_text: bool, is_escaped: bool) -> bool:
        """Whether it is in a piece, of which the bytes before `decided` are there to be looked back at.

        `is_escaped`: a text in which letters are written as JSON escapes.
        """
        if self._is_in(seen, decided, is_end=is_end, is_escaped=is_escaped):
            return True
        if not is_text:
            return False
        if self.is_in_base64(seen, is_start=not decided, is_end=is_end):
            return True
        # Of UTF-16 among lines of another encoding; nothing there is public, which the plain text of a file may be.
        return b"\0" in seen and self._is_in(_without_zeros(seen), len(_without_zeros(seen[:decided])), is_end=is_end)

    @cached_property
    def search_patterns(self) -> frozenset[str]:
        """Texts of which one stands in the plain text of whatever holds the id; none where that is not sure."""
        user = encoded(self.user)
        if len(user) < _LEAST_SEARCHED or _EVERYWHERE.search(user):
            return frozenset()
        # safeguard: many-ids-sought-in-every-spelling
        return frozenset(
            _plain_spelling(each) for each in (user, *self._spellings, *(fixed for fixed, _, _ in self._base64))
        )

    def _is_in(self, seen: bytes, start: int, *, is_end: bool, is_escaped: bool = False) -> bool:
        # At the very end of what was seen, the next byte decides whether it is a word of its own.
        if is_escaped:
            return any(is_end or match.end() < len(seen) for match in self._escaped_word.finditer(seen, start))
        return any(_is_word_of(seen, spelling, start, is_end=is_end) for spelling in self._spellings)

    def is_in(self, text: str) -> bool:
        """The same of text."""
        return self.is_in_bytes(encoded(text))

    def is_owned(self, record: bytes | str) -> bool:
        """Whether a landed record belongs to the user, or names them anywhere but as a creator.

        What cannot be read as JSON, or is too long to be read, belongs to them if the id is a word of it.
        """
        content = encoded(record) if isinstance(record, str) else record
        if self.owns_all:
            return bool(content.strip())
        if b"\0" in content and self.is_in_bytes(_without_zeros(content)):  # a line of UTF-16
            return True
        if self.is_in_base64(content):
            return True
        if not self.is_in_bytes(content) and _ESCAPE not in content:
            return False
        if len(content) <= MAX_LINE_BYTES:
            with suppress(ValueError, RecursionError):
                if isinstance(landed := json.loads(content), dict):
                    return self.user in strings_in([v for name, v in landed.items() if not self.is_of_others(name)])
        return self.is_in_text([content])

    def is_in_cells(self, header: Sequence[str], cells: Sequence[str]) -> bool:
        """Whether a record of CSV belongs to the user, or names them anywhere but as a creator."""
        return self.owns_all or any(
            self.user in (cell, shown_object_id(cell)) and not self.is_of_others(name)
            for name, cell in zip(header, cells, strict=True)
        )

    def is_of_others(self, name: str) -> bool:
        """Whether a landed field of this name says who or what it was that the person watched, or by which device."""
        return _plain(dict(self.mapping.rename).get(name, name)) in _OF_OTHERS


def _without_zeros(text: bytes) -> bytes:
    """ASCII letters in UTF-16 as those of ASCII."""
    return text.replace(b"\0", b"")


_PLAIN_BASE64 = bytes.maketrans(b"-_", b"+/")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")


def _in_plain_base64(content: bytes) -> bytes:
    """The bytes with the letters of the usual base64 in place of those of base64url, and no slash escaped."""
    plain = content.translate(_PLAIN_BASE64)
    return plain.replace(b"\\/", b"/") if b"\\/" in plain else plain


def _group_before(plain: bytes, at: int) -> bytes:
    """What the four letters of base64 before a place stand for; nothing where they are not four."""
    letters = plain[max(0, at - 4) : at]
    return _from_base64(letters) if len(letters) == 4 and _BASE64.fullmatch(letters) else b""


def _from_base64(text: bytes) -> bytes:
    """What the letters of base64 that a text begins with stand for."""
    match = _BASE64.match(text)
    letters = match[0] if match else b""
    letters = letters[: len(letters) - (len(letters) % 4 == 1)]
    return base64.b64decode(letters + b"=" * (-len(letters) % 4))


_MAX_ESCAPED_BYTES = 12  # of a letter as two JSON escapes


def _is_word_of(seen: bytes, spelling: bytes, start: int, *, is_end: bool) -> bool:
    """Whether a text is a word of its own in some bytes: sooner by far than by a pattern."""
    at = seen.find(spelling, start)
    while at >= 0:
        end = at + len(spelling)
        ends = seen[end] not in ID_LETTERS if end < len(seen) else is_end
        if ends and (at == 0 or seen[at - 1] not in ID_LETTERS):
            return True
        at = seen.find(spelling, at + 1)
    return False


ID_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


def _as_word(spelt: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![A-Za-z0-9_-])(?:" + spelt + rb")(?![A-Za-z0-9_-])")


def _escaped(letter: str) -> bytes:
    """A pattern for a letter in each way that JSON may write it."""
    units = letter.encode("utf-16-be", "surrogatepass")
    escape = b"".join(rb"\\u(?i:%04x)" % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2))
    short = [json.dumps(letter, ensure_ascii=False)[1:-1], *([r"\/"] if letter == "/" else [])]
    return b"(?:" + b"|".join([*(re.escape(encoded(each)) for each in short), escape]) + b")"


def _overlapping(chunks: Iterable[bytes], kept: int) -> Iterator[tuple[bytes, int, bool]]:
    """(bytes, where what is new in them begins, whether they are the last): each with the end of those before.

    No byte is looked at more than twice, however small the chunks are.
    """
    seen, waiting, size, decided = b"", [], 0, 0
    for chunk in chunks:
        waiting.append(chunk)
        size += len(chunk)
        if size <= kept:
            continue
        seen = b"".join([seen, *waiting])
        yield seen, decided, False
        # safeguard: id-search-across-pieces
        seen, waiting, size, decided = seen[-kept:], [], 0, 1  # the first byte is there to be looked back at
    yield b"".join([seen, *waiting]), decided, True


def encoded(text: str) -> bytes:
    """The bytes of an id or a text in UTF-8; half of a surrogate pair, as JSON escapes may hold, has some too."""
    return text.encode("utf-8", "surrogatepass")


def _plain(name: str) -> str:
    return name.replace("_", "").strip().lower()


# --- many ids -------------------------------------------------------------------------------------------------------

FEW = 3  # ids that are looked for one by one sooner than by an automaton of all of them
_SEARCHED_AT_ONCE = 64  # spellings that an expression finds four times as fast as the automaton; of more, it is one
_LEAST_SEARCHED = 4  # bytes of an id that the automaton looks for: shorter ones stand everywhere
_EVERYWHERE = re.compile(rb"[\x00-\x1f\\\"]")  # in an id: JSON may write it in more ways than are looked for
_ESCAPES = re.compile(rb"(?:\\u[0-9a-fA-F]{4})+")


class IdMatchers:
    """Matches several ids together, in one pass over what is looked at.

    An automaton of every way in which an id is written says which of them may stand in some bytes, with false positives
    alone; only those are matched one by one.
    """

    def __init__(self, matchers: Iterable[IdMatcher]) -> None:
        self._matchers = tuple(matchers)
        self.users = frozenset(each.user for each in self._matchers)
        self.owners_of_all = frozenset(each.user for each in self._matchers if each.owns_all)

    @classmethod
    def of(cls, users: Iterable[str]) -> IdMatchers:
        """Those of some ids."""
        return cls(map(IdMatcher, dict.fromkeys(users)))

    def of_file(self, file: LandedFile) -> IdMatchers:
        """The matchers of a landed file's records."""
        return IdMatchers(each.of_file(file) for each in self._matchers)

    def among(self, users: Iterable[str]) -> IdMatchers:
        """The matchers of some of the ids."""
        chosen = frozenset(users)
        return self if chosen >= self.users else IdMatchers(each for each in self._matchers if each.user in chosen)

    @property
    def are_many(self) -> bool:
        """Whether they are looked for together, and not one by one."""
        return len(self.users) > FEW

    @property
    def mapping(self) -> EntityMapping:
        """How the landed file is read whose records are looked at."""
        return self._matchers[0].mapping if self._matchers else UNMAPPED

    def is_of_others(self, name: str) -> bool:
        """See IdMatcher."""
        return bool(self._matchers) and self._matchers[0].is_of_others(name)

    def in_bytes(self, content: bytes) -> set[str]:
        """The ids that are words of their own in some bytes."""
        return {each.user for each in self._candidates(content) if each.is_in_bytes(content)}

    def in_name(self, text: str) -> set[str]:
        """The same of text."""
        return self.in_bytes(encoded(text))

    def in_chunks(self, chunks: Iterable[bytes]) -> set[str]:
        """The same of bytes that come in pieces."""
        return self._in_pieces(chunks, is_text=False)

    def in_text(self, chunks: Iterable[bytes]) -> set[str]:
        """The same of a text that may be JSON: also with letters of an id as JSON escapes, and in base64."""
        return self._in_pieces(chunks, is_text=True)

    def _in_pieces(self, chunks: Iterable[bytes], *, is_text: bool) -> set[str]:
        kept = self.kept_of_text if is_text else max((each.kept_of_bytes for each in self._matchers), default=1)
        left, found = self, set[str]()
        for seen, decided, is_end in _overlapping(chunks, kept):
            is_escaped = is_text and _ESCAPE in seen
            here = {
                each.user
                for each in left._candidates(seen)
                if each.is_in_piece(seen, decided, is_end=is_end, is_text=is_text, is_escaped=is_escaped)
            }
            if here:
                found |= here
                left = self.among(self.users - found)
                if not left.users:
                    break
        return found

    def owners(self, record: bytes | str) -> set[str]:
        """Whose a landed record is: see IdMatcher.is_owned."""
        return self.owners_of([record])[0]

    def owners_of(self, records: Sequence[bytes | str]) -> list[set[str]]:
        """The same of each of some records."""
        contents = [encoded(record) if isinstance(record, str) else record for record in records]
        return [
            {each.user for each in candidates if each.is_owned(content)} if candidates else set()
            for content, candidates in zip(contents, self._candidates_of(contents), strict=True)
        ]

    def contained_in(self, texts: pa.ChunkedArray) -> dict[str, list[int]]:
        """The ids that stand anywhere in some texts, and in which of them."""
        series = pl.Series(texts.cast(pa.string())).fill_null("")
        users = sorted(self.users)
        places = series.str.contains_any(users).arg_true()
        found: dict[str, list[int]] = {}
        hits = series.gather(places).str.extract_many(users, overlapping=True).to_list()
        for place, here in zip(places.to_list(), hits, strict=True):
            for user in set(here):
                found.setdefault(user, []).append(place)
        return found

    def owners_of_cells(self, header: Sequence[str], cells: Sequence[str]) -> set[str]:
        """Whose a record of CSV is: see IdMatcher.is_in_cells."""
        found = set(self.owners_of_all)
        for name, cell in zip(header, cells, strict=True):
            landed = {cell, shown_object_id(cell)} & self.users
            if landed and not self.is_of_others(name):
                found |= {each for each in landed if each}
        return found

    def in_broken_base64(self, content: bytes, *, is_start: bool, is_end: bool) -> set[str]:
        """The ids that stand in a piece of base64, of which the line ends have been taken out."""
        candidates = self._candidates(content)
        return {each.user for each in candidates if each.is_in_base64(content, is_start=is_start, is_end=is_end)}

    @property
    def kept_of_text(self) -> int:
        """How many bytes of one piece of a text are looked at again with the next."""
        return max((each.kept_of_text for each in self._matchers), default=1)

    def _candidates(self, content: bytes) -> Sequence[IdMatcher]:
        return self._candidates_of([content])[0]

    def _candidates_of(self, contents: Sequence[bytes]) -> list[Sequence[IdMatcher]]:
        """Of each content, the matchers that may find something in it."""
        by_spelling = self._by_spelling
        if len(self._matchers) <= FEW or not by_spelling:
            return [self._matchers] * len(contents)
        texts = pl.Series([_plain_text(each) for each in contents], dtype=pl.String)
        texts = texts.set(~self._may_hold_any(texts), "")  # most hold none, and to say which one holds takes longer
        hits = texts.str.extract_many(list(by_spelling), overlapping=True)
        found: list[Sequence[IdMatcher]] = []
        for spellings in hits.to_list():
            numbers = {number for spelling in set(spellings) for number in by_spelling[spelling]}
            found.append([self._matchers[number] for number in sorted(numbers.union(self._always))])
        return found

    def _may_hold_any(self, texts: pl.Series) -> pl.Series:
        """Of each text, whether one of the spellings stands in it."""
        if len(self._by_spelling) > _SEARCHED_AT_ONCE:
            return texts.str.contains_any(list(self._by_spelling))
        return texts.str.contains("|".join(map(pl.escape_regex, self._by_spelling)))

    @cached_property
    def _always(self) -> frozenset[int]:
        """Those matchers that are asked about everything."""
        return frozenset(
            number for number, each in enumerate(self._matchers) if each.owns_all or not each.search_patterns
        )

    @cached_property
    def _by_spelling(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, each in enumerate(self._matchers):
            for spelling in each.search_patterns if number not in self._always else ():
                found.setdefault(spelling, []).append(number)
        return found


def _plain_text(content: bytes) -> str:
    """The bytes as a text in which every spelling of an id is one of those that are looked for."""
    if _ESCAPE in content:  # safeguard: many-ids-sought-in-escapes
        plain = _ESCAPES.sub(lambda found: encoded(json.loads(b'"' + found[0] + b'"')), content)
        content = content + b"\n" + plain
    if b"\0" in content:  # UTF-16 among lines of another encoding
        content = content + b"\n" + _without_zeros(content)
    return _plain_spelling(content)


def _plain_spelling(content: bytes) -> str:
    return _in_plain_base64(content).decode("latin-1")
