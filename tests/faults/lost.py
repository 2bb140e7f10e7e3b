"""What may be left of a home when the power goes: a file system, as far as it promises anything.

Built from a record of operations (recording.py). A file's content is durable once the file was fsynced after it was
written; a name in a folder (made, renamed, linked, removed) once that folder was fsynced; a rename happens whole or not
at all. Of everything else any part may be lost and any part kept, whatever came first: that is all POSIX and the
file systems in use agree on. After an fsync that failed, what it should have made durable is lost for good unless
it is written again: a later fsync that succeeds says nothing of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random

from faults.recording import keep

NEVER_LINKED = "run"  # of the lock: the only file that is written in place


@dataclass(eq=False)
class File:
    """An inode of a file: what was last seen in it, and what an fsync has made durable."""

    now: str | None = None  # by sha256; None: something that nobody has looked at
    durable: str | None = None
    is_lost: bool = False  # an fsync failed


@dataclass(eq=False)
class Folder:
    """An inode of a folder, with the names that are in it now and those that are durable."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)


Change = list[tuple[Folder, str, "File | Folder | None"]]  # names set or removed (None), all of them or none


class Disk:
    """A home on a disk, operation by operation."""

    def __init__(self, home: Path, contents: Path) -> None:
        """A home that is there, durable as it is."""
        self.contents = contents
        self.root = self._load(home)
        self.pending: list[Change] = []

    def _load(self, folder: Path) -> Folder:
        entries: dict[str, File | Folder] = {}
        for path in folder.iterdir():
            if path.is_dir():
                entries[path.name] = self._load(path)
            else:
                content = keep(path, self.contents)
                entries[path.name] = File(content, content)
        return Folder(entries, dict(entries))

    # --- operations

    def do(self, entry: dict[str, str]) -> None:
        """One operation of a record; one that failed, or cannot have worked, changes nothing."""
        what, path, source = entry["what"], entry["path"], entry.get("source")
        if entry.get("fails"):
            if what == "fsync" and "content" in entry:
                file = self._file(path)
                file.now, file.is_lost = entry["content"], file.durable != entry["content"]
            return
        if source is not None and "content" in entry:
            self._file(source).now = entry["content"]
        if what == "create":
            self._file(path).now = None
        elif what == "fsync":
            self._fsync(path, entry.get("content"))
        elif what == "os.mkdir" and self.find(path) is None:
            self._change([(*self._place(path), Folder())])
        elif what in ("os.remove", "os.rmdir") and self.find(path) is not None:
            self._change([(*self._place(path), None)])
        elif what == "os.link" and (node := self.find(source)) is not None and self.find(path) is None:
            self._change([(*self._place(path), node)])
        elif what == "os.rename" and (node := self.find(source)) is not None:
            self._change([(*self._place(source), None), (*self._place(path), node)])

    def find(self, path: str | None) -> File | Folder | None:
        """What stands at a path now."""
        node: File | Folder | None = self.root
        for name in PurePosixPath(path or "").parts:
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node

    def _place(self, path: str | None) -> tuple[Folder, str]:
        """The folder of a path, made if nobody saw how, and the name in it."""
        folder = self.root
        *above, name = PurePosixPath(path or "").parts
        for each in above:
            if each not in folder.now:
                self._change([(folder, each, Folder())])
            inner = folder.now[each]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, name

    def _file(self, path: str) -> File:
        """The file at a path; a new one if nobody saw how it came there."""
        node = self.find(path)
        if node is None:
            node = File()
            self._change([(*self._place(path), node)])
        assert isinstance(node, File)
        return node

    def _change(self, change: Change) -> None:
        for folder, name, node in change:
            set_name(folder.now, name, node)
        self.pending.append(change)

    def _fsync(self, path: str, content: str | None) -> None:
        if content is not None:
            file = self._file(path)
            file.now = content
            if not file.is_lost:
                file.durable = content
            return
        folder = self.find(path)
        assert isinstance(folder, Folder), path
        for change in self.pending:
            if change[-1][0] is folder:
                for inside, name, node in change:
                    set_name(inside.durable, name, node)
        self.pending = [change for change in self.pending if change[-1][0] is not folder]

    # --- what is left

    def leave(self, to: Path, draw: Random, *, under: str = "") -> None:
        """Make the folder that somebody may find after the power is back: one of the many it could be."""
        share = draw.choice([0.0, 0.5, 0.9, 1.0, draw.random()])
        entries: dict[Folder, dict[str, File | Folder]] = {}  # of folders in which something is not durable
        for change in self.pending:
            is_kept = draw.random() < share
            for folder, name, node in change:
                names = entries.setdefault(folder, dict(folder.durable))
                if is_kept:
                    set_name(names, name, node)
        contents: dict[File, bytes | str] = {}

        def make(folder: Folder, path: Path, inside: str) -> None:
            path.mkdir()
            for name, node in sorted(entries.get(folder, folder.durable).items()):
                where = f"{inside}{name}/"
                if not (where.startswith(under) or under.startswith(where)):
                    continue
                if isinstance(node, Folder):
                    make(node, path / name, where)
                    continue
                if node not in contents:
                    contents[node] = self._content(node, draw)
                content = contents[node]
                if isinstance(content, bytes):
                    (path / name).write_bytes(content)
                elif name == NEVER_LINKED:
                    (path / name).write_bytes((self.contents / content).read_bytes())
                else:
                    (path / name).hardlink_to(self.contents / content)

        make(self.root, to, "")

    def _content(self, file: File, draw: Random) -> bytes | str:
        """The content of a file, by sha256 if it is one that it once had."""
        if file.now is not None and file.now == file.durable and not file.is_lost:
            return file.durable
        now = (self.contents / file.now).read_bytes() if file.now is not None else b"?" * 100
        torn = [b"", now[: len(now) // 2], bytes(len(now)), now[: len(now) // 2] + bytes(len(now) - len(now) // 2)]
        if file.durable is not None:
            torn.append((self.contents / file.durable).read_bytes())
        return draw.choice(torn)

    def files(self) -> dict[str, str | None]:
        """Every file that is there now, with its content, to compare with the home itself."""
        found: dict[str, str | None] = {}

        def walk(folder: Folder, inside: str) -> None:
            for name, node in folder.now.items():
                if isinstance(node, Folder):
                    walk(node, f"{inside}{name}/")
                else:
                    found[f"{inside}{name}"] = node.now

        walk(self.root, "")
        return found


def set_name(names: dict[str, File | Folder], name: str, node: File | Folder | None) -> None:
    """Let a name stand for a node, or for nothing."""
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def read(record: Path) -> list[dict[str, str]]:
    """The operations of a record, in order."""
    return [json.loads(line) for line in (record / "operations").read_text().splitlines()]
