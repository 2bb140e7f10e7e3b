"""Attack the system and print what came of it: `python -m faults --help` (`make faults` sets the path).

Every attack runs in a process of its own, two at a time, so that one that crashes takes no other with it. Exit code 1
when anything went wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from faults.campaign import SHOWN, Effort, Figure

# Longest first: two run at a time.
ATTACKS = (
    "crash",
    "errors",
    "power",
    "corruption",
    "input",
    "order",
    "together",
    "security",
    "tokens",
    "limits",
    "http",
    "supply",
)


def main() -> int:
    """Make the attacks that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)}; all by default")
    parser.add_argument("--full", action="store_true", help="the tier of hours instead of minutes")
    parser.add_argument("--seed", default=None, help="what everything random is drawn from (drawn itself, and printed)")
    parser.add_argument("--jobs", type=int, default=2, help="attacks at a time (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if unknown := set(asked.attacks) - set(ATTACKS):
        parser.error(f"there is no attack {', '.join(sorted(unknown))}; there are: {', '.join(ATTACKS)}")
    seed = asked.seed or secrets.token_hex(4)
    if asked.alone:
        return _attack(asked.attacks[0], asked.full, seed)
    chosen = [name for name in ATTACKS if name in asked.attacks] or list(ATTACKS)
    started = time.monotonic()
    with ThreadPoolExecutor(asked.jobs) as pool:
        results = dict(zip(chosen, pool.map(lambda name: _in_a_process(name, asked.full, seed), chosen), strict=True))
    wrong = _print(results, seed, asked.full, time.monotonic() - started)
    if asked.json:
        figures = {name: {"figures": found, "seconds": round(took, 1)} for name, (found, took) in results.items()}
        asked.json.write_text(json.dumps({"seed": seed, "full": asked.full, "attacks": figures}, indent=1) + "\n")
    return 1 if wrong else 0


def _attack(name: str, full: bool, seed: str) -> int:
    """Make one attack in this process; a figure a line on stdout."""
    module = importlib.import_module(f"faults.{name}")
    with tempfile.TemporaryDirectory(prefix=f"faults-{name}-") as scratch:
        for figure in module.attack(Effort(full, seed, Path(scratch))):
            print(json.dumps(asdict(figure)), flush=True)
    return 0


def _in_a_process(name: str, full: bool, seed: str) -> tuple[list[dict[str, object]], float]:
    """Make one attack in another process; its figures and how many seconds it took."""
    command = [sys.executable, "-m", "faults", name, "--alone", "--seed", seed, *(["--full"] if full else [])]
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:  # not a pipe: a server that an attack left behind cannot hold it open
        ended = subprocess.run(command, stdout=out, env=os.environ, check=False)
        out.seek(0)
        found = [json.loads(line) for line in out if line.startswith("{")]
    took = time.monotonic() - started
    if ended.returncode:
        found.append(asdict(Figure("the attack itself", 1, [f"it ended with exit code {ended.returncode}"])))
    print(f"{name}: {took:.0f} s", file=sys.stderr, flush=True)
    return found, took


def _print(results: dict[str, tuple[list[dict[str, object]], float]], seed: str, full: bool, took: float) -> int:
    """The table of figures, then what went wrong. Returns how much did."""
    figures = [(name, Figure(**figure)) for name, (found, _) in results.items() for figure in found]  # type: ignore[arg-type]
    width = max(len(figure.what) for _, figure in figures)
    print(f"{'attack':<12} {'what was tried':<{width}} {'tried':>9} {'wrong':>6}  note")
    for name, figure in figures:
        print(f"{name:<12} {figure.what:<{width}} {figure.tried:>9,} {len(figure.wrong):>6,}  {figure.note}".rstrip())
    wrong = sum(len(figure.wrong) for _, figure in figures)
    for name, figure in figures:
        for problem in figure.wrong[:SHOWN]:
            print(f"\n{name}: {figure.what}: {problem}")
        if len(figure.wrong) > SHOWN:
            print(f"\n{name}: {figure.what}: and {len(figure.wrong) - SHOWN:,} more")
    tier = "make faults-full" if full else "make faults"
    print(f"\n{sum(f.tried for _, f in figures):,} tried, {wrong:,} wrong, {took:.0f} s.", end=" ")
    print(f'The same again: {tier} FAULTS="--seed {seed}"')
    return wrong


if __name__ == "__main__":
    sys.exit(main())
