"""The files that the pages load: read once, named by a hash of their content, so that browsers may keep them.

An address without that hash, or with an older one, works as well; browsers then revalidate it every time.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).with_name("assets")
MEDIA_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
PREFIX = "page/"
_VERSION = b"@VERSION@"  # in a script, where it imports another

# Nothing but what this server sends: no inline script or style, no other host, no form that leads away.
POLICY = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
)


@cache
def version() -> str:
    """Sixteen hex digits that change with any byte of any asset."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def names() -> list[str]:
    """The files, by name."""
    return sorted(path.name for path in FOLDER.iterdir())


@cache
def content(name: str) -> bytes:
    """What is sent of a file."""
    return (FOLDER / name).read_bytes().replace(_VERSION, version().encode())


def address(name: str) -> str:
    """Where a page finds a file, relative to itself."""
    return f"{PREFIX}{name}?v={version()}"
