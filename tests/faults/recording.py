"""Write down what a command does to its home, in the order in which it happens: what power.py cuts short.

One JSON object a line. Names are those of the audit events; contents are kept by their sha256. Files that native code
makes appear when they are fsynced, renamed or linked: until then nothing rests on them.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path


class Recorder:
    """Appends operations on `home` to a file; what was written by a process that dies is there."""

    def __init__(self, home: str, folder: Path) -> None:
        self.home = Path(home)
        self.contents = folder / "contents"
        self.contents.mkdir(parents=True, exist_ok=True)
        self.file = os.open(folder / "operations", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def happens(self, what: str, path: str, source: str | None, fails: bool) -> None:
        """Write down an operation before it happens."""
        entry: dict[str, object] = {"what": what, "path": self.inside(path)}
        if source is not None:
            entry["source"] = self.inside(source)
        if fails:
            entry["fails"] = True
        subject = Path(source if source is not None else path)
        if what in ("fsync", "os.rename", "os.link") and subject.is_file():
            entry["content"] = keep(subject, self.contents)
        if what == "create":
            entry["is_new"] = not Path(path).exists()
        os.write(self.file, json.dumps(entry).encode() + b"\n")

    def inside(self, path: str) -> str:
        """The path inside the home."""
        return str(Path(path).relative_to(self.home))


def keep(path: Path, contents: Path) -> str:
    """Keep the content of a file; its sha256."""
    content = path.read_bytes()
    name = hashlib.sha256(content).hexdigest()
    if not (contents / name).exists():
        (contents / name).write_bytes(content)
    return name
