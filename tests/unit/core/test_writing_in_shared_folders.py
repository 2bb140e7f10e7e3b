"""A file that is built in a folder of others: nobody else reaches it before it has its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.core import shared_folders

mkdir = os.mkdir


def test_a_folder_that_others_could_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever got theirs in the place of ours, or rights to ours, gets no file built there."""

    def for_all(name: str, _: int, **where: Any) -> None:
        mkdir(name, 0o777, **where)
        os.chmod(name, 0o777, **where)  # noqa: PTH101 (by a descriptor)

    monkeypatch.setattr(os, "mkdir", for_all)
    with pytest.raises(PermissionError, match="not this user's alone"):
        shared_folders.write_bytes(tmp_path / "a.prom", b"a", 0o644)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """And a link by the file's name is replaced, not followed."""
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "a.prom").symlink_to("elsewhere")
    before = os.umask(umask)
    try:
        shared_folders.write_bytes(tmp_path / "a.prom", b"ours", 0o644)
    finally:
        os.umask(before)
    assert (tmp_path / "a.prom").read_bytes() == b"ours"
    assert (tmp_path / "a.prom").lstat().st_mode & 0o777 == 0o644
    assert (tmp_path / "elsewhere").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.prom", "elsewhere"]
