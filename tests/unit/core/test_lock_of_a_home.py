"""The lock of a home is where nobody else can hold it, and an older version's is respected."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from pipelines.core import durable_files
from pipelines.core.errors import Busy, RefusedToPublish


def older_lock(home: Path, content: str) -> Path:
    home.mkdir()
    path = home / ".lock"
    path.write_text(content)
    return path


@pytest.mark.parametrize("content", ["", "ended\n", "4000000\n"])
def test_an_older_lock_that_nobody_holds(tmp_path: Path, content: str) -> None:
    """It becomes the folder; an older version that is started then finds no file to lock, and fails."""
    path = older_lock(tmp_path / "home", content)
    with durable_files.lock_home(tmp_path / "home"):
        assert path.is_dir()
        assert path.stat().st_mode & 0o777 == 0o700
        with pytest.raises(Busy, match=r"is at work in .*/home\."), durable_files.lock_home(tmp_path / "home"):
            pass
        with pytest.raises(IsADirectoryError):
            path.open("r+")


def test_an_older_version_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has written a number into the lock is waited for."""
    monkeypatch.setattr(durable_files, "_NAME_SECONDS", 0.1)
    path = older_lock(tmp_path / "home", "4000000\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="An older version is at work"), durable_files.lock_home(tmp_path / "home"):
            pass
        assert path.is_file()


def test_somebody_who_could_open_the_older_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others cannot write into it: held over the word that the last run has ended, it stops no night; nor the home."""
    monkeypatch.setattr(durable_files, "_NAME_SECONDS", 0.1)
    path = older_lock(tmp_path / "home", "ended\n")
    with path.open() as file, durable_files._opened(tmp_path / "home" / "x") as (_, folder):
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.flock(folder, fcntl.LOCK_EX)
        with durable_files.lock_home(tmp_path / "home"):
            assert path.is_dir()


def test_a_lock_folder_that_others_can_enter(tmp_path: Path) -> None:
    """It is closed to them."""
    (tmp_path / ".lock").mkdir(mode=0o755)
    with durable_files.lock_home(tmp_path):
        assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("error", "is_tidy"),
    [(OSError(24, "Too many open files"), False), (KeyboardInterrupt(), False), (RefusedToPublish("half a day"), True)],
)
def test_a_run_that_failed_may_have_left_something(tmp_path: Path, error: BaseException, is_tidy: bool) -> None:
    """What failed may also have failed to remove what was half-written: the next run sweeps. A refusal has not."""
    with suppress(type(error)), durable_files.lock_home(tmp_path) as held:
        held.is_tidy = True
        raise error
    with durable_files.lock_home(tmp_path) as held:
        assert held.is_tidy == is_tidy


@pytest.mark.parametrize("removes", [True, False])
def test_what_could_not_be_removed_is_swept_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removes: bool
) -> None:
    """A replaced folder whose files cannot be removed at that moment fails nobody; it is swept later."""
    final = tmp_path / "snapshots" / "one"
    final.mkdir(parents=True)
    with durable_files.lock_home(tmp_path) as held:
        held.is_tidy = True
        with monkeypatch.context() as patch, durable_files.new_folder(final, replace=True):
            if not removes:
                patch.setattr(shutil, "rmtree", lambda folder, ignore_errors: None)  # as it does where it may not
    with durable_files.lock_home(tmp_path) as held:
        assert held.is_tidy == removes
        held.is_tidy = True
        assert durable_files.sweep(tmp_path / "snapshots") == (0 if removes else 1)
    with durable_files.lock_home(tmp_path) as held:
        assert held.is_tidy
