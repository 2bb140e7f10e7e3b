"""Folders for what is not kept: for their owner alone, and gone with whoever made them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from pipelines.core.scratch import scratch_folder, sweep_scratch

_HOLD = """
import sys, time
from pathlib import Path
from pipelines.core.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "held") as folder:
    (folder / "viewers").write_text("ann")
    print(folder, flush=True)
    time.sleep(60)
"""


def held(home: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(home)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_its_owners_and_goes_with_its_use(tmp_path):
    """Also where everybody may read what is made, and though there is something in it."""
    mask = os.umask(0)
    try:
        with scratch_folder(tmp_path, "x") as folder, scratch_folder(tmp_path, "x") as other:
            assert folder != other
            assert {path.stat().st_mode & 0o777 for path in (folder, folder.parent)} == {0o700}
            (folder / "in").mkdir()
    finally:
        os.umask(mask)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path):
    """A folder is known to be left by its lock, which the kernel frees."""
    killed, left = held(tmp_path)
    alive, used = held(tmp_path)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.is_dir()
        sweep_scratch(tmp_path)
        assert not left.exists()
        assert (used / "viewers").read_text() == "ann"
    finally:
        alive.kill()
        alive.wait()
    with scratch_folder(tmp_path, "next"):
        assert not used.exists()


def test_many_at_once(tmp_path):
    """None takes another's for left, though each sweeps before it makes its own."""
    wrong = []

    def use(number: int) -> None:
        for _ in range(30):
            with scratch_folder(tmp_path, str(number)) as folder:
                (folder / "mine").write_text(str(number))
                if (folder / "mine").read_text() != str(number):
                    wrong.append(folder)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not (tmp_path / "tmp").exists()


def test_a_link_in_the_place_of_a_folder_is_not_followed(tmp_path):
    """What somebody else put there leads nowhere."""
    (tmp_path / "home/tmp").mkdir(parents=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("")
    (tmp_path / "home/tmp/x-link").symlink_to(tmp_path / "kept")
    sweep_scratch(tmp_path / "home")
    assert (tmp_path / "kept/file").exists()
