"""Fill a disk: a small file system of one's own, mounted in a namespace where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faults.campaign import Effort, Figure, not_tried
from faults.children import Answer, Case, Children, Scene
from faults.refused import problem_said, problem_when_done

BYTES = 64 << 20
# Its first argument is a folder, the others a command that runs with a file system of that size there.
MOUNT = f'mount -t tmpfs -o size={BYTES},mode=755 tmpfs "$0" && exec "$@"'


def attack(effort: Effort, played: Scene) -> Iterator[Figure]:
    """Run with so little space left that it does not last; then with enough. And prune with none."""
    disk = effort.scratch / "disk"
    disk.mkdir()
    namespace = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(disk)]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        yield not_tried("a full disk", "no file system can be mounted in a namespace here (unshare)")
        return
    with Children(*namespace) as children:
        children.done(disk / "warm", ["snapshots", "list"])  # it is mounted once this is answered
        inside = Path(f"/proc/{children.process.pid}/root{disk}")
        yield filled(effort, played, children, disk, inside)
        yield pruned(played, children, disk, inside)


def filled(effort: Effort, played: Scene, children: Children, disk: Path, inside: Path) -> Figure:
    """Runs on a disk with some space left, then with more."""
    figure = Figure("a full disk")
    draw = effort.random("full disk")
    refused = 0
    for _ in range(effort.times(8, 600)):
        case = played.cases[draw.choice(["run", "run", "first run", "repair"])]
        space = draw.choice([0, draw.randrange(4096 * 20), draw.randrange(needed(case, played))])
        answer = on_a_disk_with(space, children, disk, inside, case)
        home = inside / "home"
        problem = (
            problem_said(answer, disk / "home", "ENOSPC")
            or problem_when_done(answer, home, case)
            or case.problem_between(home)
            or case.problem_after(home, children, named=disk / "home")
        )
        refused += answer.exit != 0
        figure.check(problem is None, f"{case.name} with {space:,} bytes left: {problem}")
        shutil.rmtree(home)
    figure.note = f"{refused:,} ended the command"
    return figure


def pruned(played: Scene, children: Children, disk: Path, inside: Path) -> Figure:
    """What frees space must need none."""
    figure = Figure("prune on a full disk")
    case = replace(played.cases["prune"], redo=())
    answer = on_a_disk_with(0, children, disk, inside, case)
    problem = answer.err if answer.exit else case.problem_now(inside / "home")
    figure.check(problem is None, f"{problem}")
    return figure


def on_a_disk_with(space: int, children: Children, disk: Path, inside: Path, case: Case) -> Answer:
    """Give a command on a disk that has so many bytes left; afterwards it has all of them again."""
    case.copy(inside / "home")
    ballast = inside / "ballast"
    free = os.statvfs(inside)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail * free.f_frsize - space))
    answer = children.do(disk / "home", case.arguments)
    ballast.unlink()
    return answer


def needed(case: Case, played: Scene) -> int:
    """About how many bytes the case writes."""
    sizes = [
        sum(path.stat().st_size for path in home.rglob("*") if path.is_file()) for home in (case.home, played.after)
    ]
    return max(sizes[1] - sizes[0], 1 << 20)
