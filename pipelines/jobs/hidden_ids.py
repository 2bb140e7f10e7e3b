"""Find ids in a text that spells them otherwise: in percent-encoding, HTML, quoted-printable, hexadecimal, broken
base64, or in an archive that is written as base64.

What is plain, in JSON escapes or in whole base64, id_matcher.py finds. Here only what is encoded is decoded and looked
at, so that an id that stands plainly where it is public, as a creator's, is none.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote_to_bytes

from pipelines.jobs.id_matcher import ID_LETTERS, IdMatchers, encoded

KEPT_BYTES = 1 << 14  # looked at again of a word that is too long to wait for its end; an id in it is not longer
MAX_HELD_BYTES = 1 << 20  # of a word, or of an archive in base64, whose end is in a later piece
MAX_UNPACKED_BYTES = 64 << 20  # of an archive in base64
_LEAST_HEX = 4  # bytes of an id that is looked for in hexadecimal: of fewer, random digits hold it everywhere
_BESIDE = 3  # bytes on either side of a mention, which tell what it is
_LEAST_MENTIONED = 6  # letters of an id that is looked for within longer texts: shorter ones are words and versions
# Between the words of a text, of which only those are decoded that are encoded.
_SPACES = re.compile(rb"[\s\"<>]+")
_SPACES_IN_LINE = re.compile(rb"[ \t\"<>,;:]+")
_PERCENT = re.compile(rb"(?:%|\\x)[0-9A-Fa-f]{2}")
_NESTED_ESCAPE = re.compile(rb"(?:\\{2,}u[0-9a-fA-F]{4})+")  # of JSON that is a text in JSON
_ENTITY = re.compile(rb"&#?\w{2,8};")
_PRINTABLE = re.compile(rb"=(?:[0-9A-F]{2}|\r?\n)")
_HEX = re.compile(rb"(?<![0-9A-Za-z_-])(?:0x|\\{0,2}x)?((?:[0-9a-fA-F]{2}){4,})(?![0-9A-Za-z_-])")
_BREAKS = re.compile(rb"\\[nrt]")
# How archives begin in base64: gzip, zip, bzip2, xz, Zstandard; and zlib. Each is looked for before all of them are.
_ARCHIVES = (b"H4sI", b"UEsDB", b"Qlpo", b"Td6WFoA", b"KLUv")
_ZLIB = re.compile(rb"e(?:J[w-z]|N[o-r]|A[E-H])(?<![A-Za-z0-9+/_-]...)", re.DOTALL)  # looks behind once it has found
_ARCHIVE = re.compile(rb"(?<![A-Za-z0-9+/_-])(?:H4sI|UEsDB|Qlpo|[/_]Td6WFoA|KLUv\\?[/_]|eJ[w-z]|eN[o-r]|eA[E-H])")
_IN_LINE = re.compile(rb"(?:[A-Za-z0-9+/_-]|\\/)*")
_IN_LINES = re.compile(rb"(?:[A-Za-z0-9+/_-]|\\/|\r?\n[ \t]*(?=[A-Za-z0-9+/_-])|\\r|\\n)*")
_LETTERS_OF_LINES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-\\=\r\n\t "
_ARCHIVE_HEAD = 64  # letters, by which one is told from a word
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04", b"\x78")
_MOST_TIMES = 3  # that a text is percent-encoded
_SHORT = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{2,}(?![A-Za-z0-9+/_-])")

LookInto = Callable[[bytes], set[str]]  # an archive; raises what in_stream raises


class HiddenIds:
    """Looks through a text for ids that are encoded in it: the same in pieces, wherever they are cut, as in the whole.

    A piece is looked at up to its last whole word; the rest waits for the next one. Of a word or an archive that is
    longer than MAX_HELD_BYTES the places where it was cut may look like ends: more is found then, or named, never less.
    """

    def __init__(self, ids: IdMatchers, look_into: LookInto) -> None:
        self.found: set[str] = set()
        self.problem: str | None = None  # why an id may be in it all the same
        self._ids = ids
        self._look_into = look_into
        self._of_hex = ids.among(user for user in ids.users if len(user.encode("utf-8", "replace")) >= _LEAST_HEX)
        words = [encoded(user).hex() for user in self._of_hex.users]
        # Of many ids it is sooner to decode whatever there is.
        self._hex = None if self._of_hex.are_many else [b for word in words for b in _in_both_cases(word)]
        self._short = ids.among(user for user in ids.users if len(user.encode("utf-8", "replace")) < 3)
        self._long = ids.among(user for user in ids.users if len(user) >= _LEAST_MENTIONED)
        self._waiting: list[bytes] = []  # a word that is not whole yet
        self._backslash = b""  # which may begin the end of a line
        self._broken = _Overlap(ids.kept_of_text)  # without the ends of lines
        self._mentioned = _Overlap(max((len(encoded(user)) for user in self._long.users), default=0) + 2 * _BESIDE)

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, looked through on the way."""
        for chunk in chunks:
            self.look(chunk)
            yield chunk
        self.finish()

    def look(self, chunk: bytes) -> None:
        """Look through the next piece."""
        self._look_for_broken_base64(chunk)
        self._waiting.append(chunk)
        size = sum(map(len, self._waiting))
        if size <= MAX_HELD_BYTES and not _begin_of_last_word(chunk):
            return
        seen = b"".join(self._waiting)
        # safeguard: encoded-words-looked-at-whole
        word = end = start = _begin_of_last_word(seen)
        if word:
            end = start = _begin_of_last_archive(seen, word)
        if len(seen) - end > MAX_HELD_BYTES and end < word:
            self.problem = "it holds an archive in base64 that is too long to be looked into"
            end = start = word
        if len(seen) - end > MAX_HELD_BYTES:
            end, start = _cut_of_long_word(seen)
        self._waiting = [seen[start:]]
        self._look(seen[:end])

    def finish(self) -> None:
        """Look at what is left, once there are no more pieces."""
        self._look_for_broken_base64(b"", is_end=True)
        self.look_for_mentions(b"", is_end=True)
        self._look(b"".join(self._waiting))
        self._waiting = []

    def _look(self, text: bytes) -> None:
        for decoded in _decoded(text):
            self.found |= self._ids.in_bytes(decoded)
        if self._may_hold_hex(text) and (digits := _HEX.findall(text)):
            self.found |= self._of_hex.in_bytes(b"\n".join(map(binascii.unhexlify, digits)))
        if self._short.users:
            texts = [text for text in map(_text_in_base64, _SHORT.findall(text)) if text]
            self.found |= self._short.in_bytes(b"\n".join(texts))
        self._look_into_archives(text)

    def _look_for_broken_base64(self, chunk: bytes, *, is_end: bool = False) -> None:
        seen = self._backslash + chunk
        self._backslash = b"\\" if seen.endswith(b"\\") and not is_end else b""
        letters = _BREAKS.sub(b"", seen.removesuffix(self._backslash)).translate(None, b"\r\n\t ")
        letters, is_start = self._broken.add(letters)
        self.found |= self._ids.in_broken_base64(letters, is_start=is_start, is_end=is_end)

    def _may_hold_hex(self, text: bytes) -> bool:
        return bool(self._of_hex.users) and (self._hex is None or any(word in text for word in self._hex))

    def look_for_mentions(self, chunk: bytes, *, is_end: bool = False) -> None:
        """Look for ids within longer texts: a record that says something of a person, and is not theirs."""
        seen, is_start = self._mentioned.add(chunk)
        for user in self._long.in_bytes(seen):
            word = encoded(user)
            at = seen.find(word)
            while at >= 0:
                end = at + len(word)
                # safeguard: mentions-across-pieces
                is_decided = (is_start or at >= _BESIDE) and (is_end or end + _BESIDE <= len(seen))
                if is_decided and not _stands_alone(seen, at, end):
                    self.found.add(user)
                    break
                at = seen.find(word, at + 1)

    def look_at_values(self, values: Iterable[bytes]) -> None:
        """Look at the values of a column, each by itself; one that is an id, and no more, is none that is hidden."""
        given = [value for value in values if value]
        self.look(_beside(given))
        plain = {encoded(user) for user in self._ids.users}
        longer = [value for value in given if value not in plain]
        text = _beside(longer)
        self.found |= self._long.in_text([text]) if b"\\u" in text else self._long.in_bytes(text)
        if b"\0" in text:
            self.found |= self._ids.in_bytes(_beside(value.replace(b"\0", b"") for value in longer if b"\0" in value))
        for value in longer if not text.isascii() else ():
            if value.startswith(_PACKED) and not value.isascii() and _is_archive(value):
                self.problem = self._look_into_archive(value) or self.problem

    def _look_into_archives(self, text: bytes) -> None:
        at = 0 if _may_hold_archive(text) else len(text)
        while (begin := _next_archive(text, at)) is not None:
            at = begin + 1
            ends = [found.end() for lines in (_IN_LINE, _IN_LINES) if (found := lines.match(text, begin))]
            # It is a line by itself, or several; once there is a problem nothing is unpacked twice.
            for end in dict.fromkeys(ends if self.problem is None else ends[:1]):
                problem = self._look_into_archive(_from_letters(text[begin:end]))
                if problem is None:
                    at = end
                    break
            self.problem = problem or self.problem

    def _look_into_archive(self, content: bytes) -> str | None:
        """Why it is not known what is in an archive: None of a whole one, "" where no more of it is there."""
        if not content.startswith(b"\x78"):
            return self._look_into_unpacked(content)
        while content.startswith(b"\x78"):
            unpacker = zlib.decompressobj()
            try:
                unpacked = unpacker.decompress(content, MAX_UNPACKED_BYTES)
            except zlib.error as error:
                return f"it holds something packed: {error}"
            if unpacker.unconsumed_tail:
                return "it holds an archive in base64 that is too large to be looked into"
            if problem := self._look_into_unpacked(unpacked):
                return problem
            if not unpacker.eof:
                return ""
            content = unpacker.unused_data  # of the next line
        return None

    def _look_into_unpacked(self, content: bytes) -> str | None:
        try:
            self.found |= self._look_into(content)
        except NotWhole as error:
            return f"it holds something packed: {error}"
        return None


class _Overlap:
    """The pieces of a stream, each behind the end of those before it."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._seen = b""
        self._is_start = True

    def add(self, piece: bytes) -> tuple[bytes, bool]:
        """The piece with what is before it, and whether that is where the stream begins."""
        seen, is_start = self._seen + piece, self._is_start
        self._is_start = is_start and len(seen) <= self._kept
        self._seen = seen[-self._kept :]
        return seen, is_start


def _begin_of_last_word(text: bytes) -> int:
    """Where the last word begins, which may go on in the next piece; a line that ends with = goes on in the next."""
    line = max(text.rfind(b"\n"), text.rfind(b"\r"))
    is_soft = text[max(line - 2, 0) : max(line, 0)].removesuffix(b"\r").endswith(b"=")
    return 1 + max(-1 if is_soft else line, *(text.rfind(space) for space in (b" ", b"\t", b'"', b"<", b">")))


def _begin_of_last_archive(text: bytes, end: int) -> int:
    """Where an archive begins that may go on in the next piece; `end` if there is none."""
    found = end
    at = _next_archive(text, len(text[:end].rstrip(_LETTERS_OF_LINES)), is_end=False)
    while at is not None and at < end:
        found, at = at, _next_archive(text, at + 1, is_end=False)
    return found


def _cut_of_long_word(text: bytes) -> tuple[int, int]:
    """How far a text is looked at that is one long word, and from where again with the next piece.

    A digit of hexadecimal stays with its other half.
    """
    digits = len(text.rstrip(b"0123456789abcdefABCDEF"))
    end = len(text) - (len(text) - digits) % 2
    start = max(end - KEPT_BYTES, 0)
    return end, start - ((start - digits) % 2 if start > digits else 0)


def _may_hold_archive(text: bytes) -> bool:
    return any(start in text for start in _ARCHIVES) or _ZLIB.search(text) is not None


def _next_archive(text: bytes, at: int, *, is_end: bool = True) -> int | None:
    """Where the next archive in base64 begins: no word that begins like one, unless more of it may come."""
    while found := _ARCHIVE.search(text, at):
        head = _IN_LINES.match(text, found.start(), found.start() + _ARCHIVE_HEAD)
        if head and (_is_archive(_from_letters(head[0])) or (not is_end and len(text) - head.start() < _ARCHIVE_HEAD)):
            return found.start()
        at = found.end()
    return None


def _from_letters(letters: bytes) -> bytes:
    """What base64 stands for that may be broken into lines."""
    plain = _BREAKS.sub(b"", letters.replace(b"\\/", b"/")).translate(bytes.maketrans(b"-_", b"+/"), b"\\\r\n\t ")
    whole = len(plain) // 4 * 4
    return base64.b64decode(plain[:whole] + _padded(plain[whole:]))


def _beside(values: Iterable[bytes]) -> bytes:
    """Values as one text, in which none goes on in the next one."""
    return b'"'.join([*values, b""])


def _in_both_cases(digits: str) -> tuple[bytes, bytes]:
    return digits.encode(), digits.upper().encode()


def _is_archive(content: bytes) -> bool:
    """Whether bytes begin as an archive, and not only with the letters of one."""
    if content.startswith(b"\x78"):
        try:
            zlib.decompressobj().decompress(content[:_ARCHIVE_HEAD], MAX_UNPACKED_BYTES)
        except zlib.error:
            return False
        return True
    if len(content) < _LEAST_ARCHIVE:
        return False
    if content.startswith(b"\x1f\x8b"):
        return content[2] == 8 and content[3] < 32
    return not content.startswith(b"BZh") or content[4:10] in (b"1AY&SY", b"\x17rE8P\x90")


_LEAST_ARCHIVE = 14  # bytes: one of bzip2 that holds nothing; any that holds an id is longer


class NotWhole(Exception):
    """Something in base64 cannot be looked into, or not as a whole."""


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    """Whether a word is a cell or a value by itself, or a part of another word."""
    before, behind = text[max(0, start - _BESIDE) : start], text[end : end + 2]
    if (before and before[-1] in ID_LETTERS) or (behind and behind[0] in ID_LETTERS):
        return True  # another id
    if before.endswith((b'\\"', b'""')) or behind.startswith((b'\\"', b'""')):
        return False  # quoted within a text
    is_first = not before or before[-1] in b'",;|\t\n\r(' or (text[start:end].isdigit() and before[-1] in b": [")
    is_last = not behind or behind[0] in b'",;|\t\n\r)' or (text[start:end].isdigit() and behind[0] in b" ]}")
    return is_first and is_last


def _padded(rest: bytes) -> bytes:
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _decoded(seen: bytes) -> Iterator[bytes]:
    """What is encoded in a text, decoded."""
    if (b"%" in seen or b"\\x" in seen) and (found := _encoded_tokens(seen, _SPACES, _PERCENT)):
        text = b"\n".join(found).replace(b"\\x", b"%")
        for _ in range(_MOST_TIMES):
            text = unquote_to_bytes(text)
            yield text
            if b"%" not in text:
                break
    if b"\\\\" in seen and (found := _encoded_tokens(seen, _SPACES, _NESTED_ESCAPE)):
        yield _NESTED_ESCAPE.sub(_from_nested_escapes, b"\n".join(found))
    if found := _encoded_tokens(seen, _SPACES, _ENTITY):
        yield html.unescape(b"\n".join(found).decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if found := _encoded_tokens(seen, _SPACES_IN_LINE, _PRINTABLE):
        yield binascii.a2b_qp(b"\n\n".join(found))


def _from_nested_escapes(found: re.Match[bytes]) -> bytes:
    units = binascii.unhexlify(found[0].translate(None, b"\\u"))
    return units.decode("utf-16-be", "replace").encode()


def _encoded_tokens(seen: bytes, spaces: re.Pattern[bytes], encoded: re.Pattern[bytes]) -> list[bytes]:
    """The tokens of a text in which something is encoded.

    They are split off first: a pattern that begins with any number of letters takes the square of a long word's time.
    """
    if not encoded.search(seen):
        return []
    return [word for word in spaces.split(seen) if encoded.search(word)]


def _text_in_base64(letters: bytes) -> bytes | None:
    """The text that letters stand for, if they stand for one: others are words that look like base64."""
    plain = letters.translate(bytes.maketrans(b"-_", b"+/"))
    if len(plain) % 4 == 1:
        return None
    text = base64.b64decode(plain + b"=" * (-len(plain) % 4))
    is_text = text.isascii() and text.decode("ascii").isprintable()
    # Words such as `be` are not what any program writes for a letter: `bQ`.
    return text if is_text and base64.b64encode(text).rstrip(b"=") == plain else None
