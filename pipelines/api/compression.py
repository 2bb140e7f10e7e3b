"""Compressed bodies: which encoding a client takes, and bodies whose last bytes are only known when they are sent.

Bodies are compressed once, when they are prepared. Where one ends in the instant of its answer, what stands before is
compressed and the end follows as it is, in a block of its own: gzip and zstd both know such blocks.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import zstandard

from pipelines.api.messages import Header

GZIP, ZSTD = b"gzip", b"zstd"
WORTH_IT_BYTES = 1024  # shorter bodies fit into a packet as they are
VARY = (b"vary", b"Accept-Encoding")

_GZIP_LEVEL, _ZSTD_LEVEL = 6, 9
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"  # deflate, no name, no time, of no known system
_ZSTD_HEAD = b"\x28\xb5\x2f\xfd\x00\x00"  # with a window of 1 KiB; the library writes none before any content
_RAW = -zlib.MAX_WBITS
_NAMES = {b"gzip": GZIP, b"x-gzip": GZIP, b"zstd": ZSTD}
_ITEM = re.compile(rb"\s*([A-Za-z0-9*_-]+)\s*(?:;\s*[qQ]=([01](?:\.[0-9]{0,3})?)\s*)?")


def accepted(headers: Iterable[Header]) -> bytes | None:
    """The encoding to answer in: GZIP or ZSTD, whichever the client takes and likes more; None for neither."""
    sent = [value for name, value in headers if name == b"accept-encoding"]
    return preferred(b",".join(sent)) if sent else None


@lru_cache(maxsize=256)  # the same few values from everybody
def preferred(accept_encoding: bytes) -> bytes | None:
    """The same, of the header's value. Of two that are liked as much it is zstd, which is smaller and faster."""
    liked: dict[bytes, float] = {}
    rest = 0.0
    for item in accept_encoding.split(b","):
        found = _ITEM.fullmatch(item)
        if found is None:
            continue
        quality = float(found[2]) if found[2] is not None else 1.0
        name = found[1].lower()
        if name == b"*":
            rest = quality
        elif name in _NAMES:
            liked[_NAMES[name]] = quality
    best = max((ZSTD, GZIP), key=lambda encoding: liked.get(encoding, rest))
    return best if liked.get(best, rest) > 0 else None


@dataclass(frozen=True)
class OpenBody:
    """A compressed body but for its end."""

    encoding: bytes
    start: bytes
    crc: int  # of what is compressed
    size: int

    def closed(self, end: bytes) -> bytes:
        """With its end, a few bytes, which are not compressed."""
        if self.encoding == ZSTD:  # RFC 8878, 3.1.1.2: the last block, raw
            return b"".join((self.start, ((len(end) << 3) | 1).to_bytes(3, "little"), end))
        # RFC 1951, 3.2.4: the last block, stored; then RFC 1952's check of the whole
        stored = b"\x01" + struct.pack("<HH", len(end), len(end) ^ 0xFFFF)
        check = struct.pack("<II", zlib.crc32(end, self.crc), (self.size + len(end)) & 0xFFFFFFFF)
        return b"".join((self.start, stored, end, check))

    def length(self, end: int) -> int:
        """The length of the body with an end of so many bytes."""
        return len(self.start) + end + (3 if self.encoding == ZSTD else 13)


def opened(encoding: bytes, *parts: bytes | memoryview) -> OpenBody:
    """Compress the parts of a body but for its end. It takes some 30 ns a byte: not for the event loop's thread."""
    crc = size = 0
    if encoding == ZSTD:
        writer = zstandard.ZstdCompressor(_ZSTD_LEVEL, write_checksum=False, write_content_size=False).compressobj()
        packed = [writer.compress(part) for part in parts]
        packed.append(writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
    else:
        deflate = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _RAW)
        packed = [_GZIP_HEAD]
        for part in parts:
            packed.append(deflate.compress(part))
            crc, size = zlib.crc32(part, crc), size + len(part)
        packed.append(deflate.flush(zlib.Z_FULL_FLUSH))  # to the next whole byte
    return OpenBody(encoding, b"".join(packed) or _ZSTD_HEAD, crc, size)


def compressed(encoding: bytes, *parts: bytes | memoryview) -> bytes:
    """Compress a body that is known as a whole."""
    return opened(encoding, *parts).closed(b"")


def encoded_header(encoding: bytes | None) -> list[Header]:
    """The Content-Encoding header, if there is to be one."""
    return [] if encoding is None else [(b"content-encoding", encoding)]


def tagged(etag: bytes, encoding: bytes | None) -> bytes:
    """The ETag of one representation: other bytes have another."""
    return etag if encoding is None else etag[:-1] + b"." + encoding + b'"'
