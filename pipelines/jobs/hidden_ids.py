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

from pipelines.jobs.id_matcher import IdMatchers

KEPT_BYTES = 1 << 14  # looked at again with the next piece; what is encoded, and has no archive in it, is not longer
MAX_UNPACKED_BYTES = 64 << 20  # of an archive in base64
_LEAST_HEX = 4  # bytes of an id that is looked for in hexadecimal: of fewer, random digits hold it everywhere
_LEAST_MENTIONED = 6  # letters of an id that is looked for within longer texts: shorter ones are words and versions
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
# Between the words of a text, of which only those are decoded that are encoded.
_SPACES = re.compile(rb"[\s\"<>]+")
_SPACES_IN_LINE = re.compile(rb"[ \t\"<>,;:]+")
_PERCENT = re.compile(rb"(?:%|\\x)[0-9A-Fa-f]{2}")
_NESTED_ESCAPE = re.compile(rb"\\{2,}u([0-9a-fA-F]{4})")  # of JSON that is a text in JSON
_ENTITY = re.compile(rb"&#?\w{2,8};")
_PRINTABLE = re.compile(rb"=(?:[0-9A-F]{2}|\r?\n)")
_HEX = re.compile(rb"(?<![0-9A-Za-z_-])(?:0x|\\{0,2}x)?((?:[0-9a-fA-F]{2}){4,})(?![0-9A-Za-z_-])")
_BREAKS = re.compile(rb"\\[nrt]")
# How archives begin in base64: gzip, zip, bzip2, xz, Zstandard; and zlib. Each is looked for before all of them are.
_ARCHIVES = (b"H4sI", b"UEsDB", b"Qlpo", b"Td6WFoA", b"KLUv")
_ZLIB = re.compile(rb"(?<![A-Za-z0-9+/_-])e(?:J[w-z]|N[o-r]|A[E-H])")
_ARCHIVE = re.compile(
    rb"(?<![A-Za-z0-9+/_-])(?:H4sI|UEsDB|Qlpo|[/_]Td6WFoA|KLUv[/_]|eJ[w-z]|eN[o-r]|eA[E-H])"
    rb"(?:[A-Za-z0-9+/_-]|\\/|\r?\n[ \t]*|\\r|\\n)*"
)
_PACKED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ", b"PK\x03\x04")
_MOST_TIMES = 3  # that a text is percent-encoded
_SHORT = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{2,}(?![A-Za-z0-9+/_-])")

LookInto = Callable[[bytes], set[str]]  # an archive; raises what in_stream raises


class HiddenIds:
    """Looks through a text, piece by piece, for ids that are encoded in it."""

    def __init__(self, ids: IdMatchers, look_into: LookInto) -> None:
        self.found: set[str] = set()
        self.problem: str | None = None  # why an id may be in it all the same
        self._ids = ids
        self._look_into = look_into
        self._of_hex = ids.among(user for user in ids.users if len(user.encode("utf-8", "replace")) >= _LEAST_HEX)
        words = [user.encode("utf-8", "surrogatepass").hex() for user in self._of_hex.users]
        # Of many ids it is sooner to decode whatever there is.
        self._hex = None if self._of_hex.are_many else [b for word in words for b in _in_both_cases(word)]
        self._short = ids.among(user for user in ids.users if len(user.encode("utf-8", "replace")) < 3)
        self._long = ids.among(user for user in ids.users if len(user) >= _LEAST_MENTIONED)
        self._tail = b""
        self._is_cut = False  # an archive goes on behind the last piece

    def watched(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """The same chunks, looked through on the way."""
        for chunk in chunks:
            self.look(chunk)
            yield chunk

    def look(self, chunk: bytes) -> None:
        """Look through the next piece."""
        if self._is_cut:
            self.problem = "it holds an archive in base64 that is too long to be looked into"
        seen = self._tail + chunk
        for decoded in _decoded(seen):
            self.found |= self._ids.in_bytes(decoded)
        if self._may_hold_hex(seen) and (digits := _HEX.findall(seen)):
            self.found |= self._of_hex.in_bytes(b"\n".join(map(binascii.unhexlify, digits)))
        self.found |= self._ids.in_broken_base64(_BREAKS.sub(b"", seen).translate(None, b"\r\n\t "))
        if self._short.users:
            texts = [text for text in map(_text_in_base64, _SHORT.findall(seen)) if text]
            self.found |= self._short.in_bytes(b"\n".join(texts))
        self._is_cut = False
        may_hold = any(start in seen for start in _ARCHIVES) or _ZLIB.search(seen)
        for match in _ARCHIVE.finditer(seen) if may_hold else ():
            self._look_into_archive(match[0])
            self._is_cut |= match.end() == len(seen) and match.start() < len(seen) - KEPT_BYTES
        self._tail = seen[-KEPT_BYTES:]

    def _may_hold_hex(self, seen: bytes) -> bool:
        return bool(self._of_hex.users) and (self._hex is None or any(word in seen for word in self._hex))

    def look_for_mentions(self, chunk: bytes) -> None:
        """Look for ids within longer texts: a record that says something of a person, and is not theirs."""
        for user in self._long.in_bytes(chunk):
            word = user.encode("utf-8", "surrogatepass")
            at = chunk.find(word)
            while at >= 0:
                if not _stands_alone(chunk, at, at + len(word)):
                    self.found.add(user)
                    break
                at = chunk.find(word, at + 1)

    def look_at_values(self, values: Iterable[bytes]) -> None:
        """Look at the values of a column, each by itself; one that is an id, and no more, is none that is hidden."""
        given = [value for value in values if value]
        text = b"\n".join(given)
        self.look(text)
        for user in self._long.in_bytes(text):
            word = user.encode("utf-8", "surrogatepass")
            if any(word in value and len(value) > len(word) and self._long.in_bytes(value) for value in given):
                self.found.add(user)
        if b"\0" in text:
            self.found |= self._ids.in_bytes(text.replace(b"\0", b"")) - self._ids.in_bytes(text)
        for value in given:
            if value.startswith(_PACKED) and not value.isascii():
                self._look_into_content(value)

    def _look_into_archive(self, letters: bytes) -> None:
        plain = _BREAKS.sub(b"", letters.replace(b"\\/", b"/")).translate(bytes.maketrans(b"-_", b"+/"), b"\r\n\t ")
        content = base64.b64decode(plain[: len(plain) // 4 * 4] + _padded(plain[len(plain) // 4 * 4 :]))
        if _is_archive(content):
            self._look_into_content(content)

    def _look_into_content(self, content: bytes) -> None:
        if content.startswith(b"\x78"):
            unpacker = zlib.decompressobj()
            try:
                content = unpacker.decompress(content, MAX_UNPACKED_BYTES)
            except zlib.error:
                return  # letters that look like one
            if unpacker.unconsumed_tail:
                self.problem = "it holds an archive in base64 that is too large to be looked into"
        try:
            self.found |= self._look_into(content)
        except NotWhole as error:
            self.problem = f"it holds something packed: {error}"


def _in_both_cases(digits: str) -> tuple[bytes, bytes]:
    return digits.encode(), digits.upper().encode()


def _is_archive(content: bytes) -> bool:
    """Whether bytes begin as an archive, and not only with the letters of one."""
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
    before, behind = text[:start][-3:], text[end : end + 2]
    if (before and before[-1] in _LETTERS) or (behind and behind[0] in _LETTERS):
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
        yield _NESTED_ESCAPE.sub(lambda one: chr(int(one[1], 16)).encode("utf-8", "replace"), b"\n".join(found))
    if found := _encoded_tokens(seen, _SPACES, _ENTITY):
        yield html.unescape(b"\n".join(found).decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if found := _encoded_tokens(seen, _SPACES_IN_LINE, _PRINTABLE):
        yield binascii.a2b_qp(b"\n\n".join(found))


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
    return text if text.isascii() and text.decode("ascii").isprintable() else None
