"""Commands that only read, over a file system that is mounted read-only, as services and pods do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AS_OF = "2013-07-01"
COMMANDS = (
    f"status --as-of {AS_OF} --notify",
    "top --limit 1",
    "top --from 2013-06-10 --to 2013-06-20",
    "snapshots list",
    "snapshots verify",
    "snapshots diff {snapshot} {snapshot}",
    "report",
)


def mostwatched(*arguments: str, home: Path, mounted: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(mounted or home), *arguments]
    if mounted:
        script = 'mount --bind "$0" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
        command = ["unshare", "-m", "bash", "-c", script, str(home), str(mounted), *command]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    environ = ours | {"PYTHONPATH": str(ROOT), "MOSTWATCHED_NOTIFY_COMMAND": "true"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_home_that_nobody_may_write(tmp_path: Path) -> None:
    """Each says what it says elsewhere: nothing has to be written for it."""
    home, mounted = tmp_path / "home", tmp_path / "mounted"
    mounted.mkdir()
    tried = ["unshare", "-m", "mount", "--bind", str(mounted), str(mounted)]
    if not shutil.which("unshare") or subprocess.run(tried, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here: it needs root, and unshare")
    landing = str(ROOT / "data" / "sample")
    ran = mostwatched("run", "--direct", "--json", "--as-of", AS_OF, "--landing", landing, home=home)
    assert ran.returncode == 0, ran.stderr
    (snapshot,) = (path.name for path in (home / "snapshots").iterdir() if path.name.startswith(AS_OF))
    for command in COMMANDS:
        arguments = command.format(snapshot=snapshot).split()
        elsewhere = mostwatched(*arguments, home=home)
        there = mostwatched(*arguments, home=home, mounted=mounted)
        assert (there.returncode, there.stderr) == (elsewhere.returncode, elsewhere.stderr) == (0, ""), command
        assert there.stdout.replace(str(mounted), str(home)) == elsewhere.stdout, command
