"""Remove each safeguard in turn: the tests must fail for every one. `make safeguards`.

The tracked files are copied to a folder, one safeguard is taken out of them there, and the tests that should notice
are run. A safeguard whose removal nobody notices has no test worth the name. First the same tests are run unchanged:
they must pass, or their failing would say nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.marks import Marked, marks
from faults.removed import SAFEGUARDS, Safeguard

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1  # exit codes of pytest and of an attack; all others mean that nothing was tested
LONGEST_SECONDS = 900


def main() -> int:
    """Remove the safeguards that were asked for; exit code 1 when one was not missed."""
    parser = argparse.ArgumentParser(prog="python -m faults.safeguards", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="WORDS", help="those whose name contains one of these")
    parser.add_argument("--jobs", type=int, default=2, help="at a time (%(default)s)")
    parser.add_argument("--list", action="store_true", help="print their names and end")
    asked = parser.parse_args()
    chosen = [one for one in SAFEGUARDS if not asked.only or any(words in one.name for words in asked.only)]
    if asked.list:
        places = {mark.name: mark.path.relative_to(ROOT) for mark in marks(ROOT)}
        print("\n".join(f"{one.name} ({places[one.name]})" for one in chosen))
        return 0
    started = time.monotonic()
    with ThreadPoolExecutor(asked.jobs) as pool:
        untouched = {tests: pool.submit(_run, None, tests) for tests in {one.noticed_by for one in chosen}}
        broken = [tests for tests, run in untouched.items() if run.result() != PASSED]
        if broken:
            print(f"With nothing removed these do not pass: {broken}", file=sys.stderr)
            return 1
        unnoticed = 0
        for one, code in zip(chosen, pool.map(lambda one: _run(one, one.noticed_by), chosen), strict=True):
            unnoticed += code != FAILED
            verdict = {FAILED: "missed", PASSED: "NOT MISSED"}.get(code, f"exit code {code}: NOTHING TESTED")
            print(f"{verdict:<12} {one.name}  ({', '.join(one.noticed_by)})", flush=True)
    print(f"\n{len(chosen)} safeguards removed, {unnoticed} not missed, {time.monotonic() - started:.0f} s")
    return 1 if unnoticed else 0


def _run(removed: Safeguard | None, tests: tuple[str, ...]) -> int:
    """The exit code of some tests over a copy of the checkout without one safeguard; TIMED_OUT counts as failing."""
    with tempfile.TemporaryDirectory(prefix="safeguards-") as folder:
        copy = Path(folder) / "checkout"
        copy_tracked(ROOT, copy)
        if removed is not None:
            remove(removed, copy)
        attacks = [name for name in tests if "/" not in name]
        command = [sys.executable, "-m"]
        command += ["faults", *attacks, "--seed", "1"] if attacks else ["pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += [name for name in tests if "/" in name]
        environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'tests'}"}
        try:
            ended = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, timeout=LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return FAILED
        return ended.returncode


def copy_tracked(root: Path, copy: Path) -> None:
    """The files that the checkout holds, without what running it has made."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name)


def remove(safeguard: Safeguard, copy: Path) -> None:
    """Take a safeguard out of a copy of the checkout. Raises ValueError unless it is marked there exactly once."""
    mark = marked(safeguard.name, copy)
    mark.path.write_text(safeguard.change(mark), encoding="utf-8")


def marked(name: str, root: Path) -> Marked:
    """Return the one mark of a safeguard. Raises ValueError for none, or several."""
    (mark,) = [mark for mark in marks(root) if mark.name == name]
    return mark


if __name__ == "__main__":
    sys.exit(main())
