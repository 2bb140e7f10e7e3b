"""The arguments of the benchmarks."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

SECTIONS = ("night", "window", "history", "ingest", "late", "growth", "age", "spark", "api")
BY_NAME = ("sizing",)  # measured where it is asked for alone
PEERS = ("duckdb", "duckdb-distinct", "clickhouse", "polars", "datafusion")

_PEER_MEMORY_BYTES = 14 * 10**9  # what the peers were measured with at 300 million sessions
_PEER_MEMORY_SHARE = 0.75  # of the machine's, where it has less: the peers spill instead of being killed


@dataclass(frozen=True)
class Options:
    """What to measure, how large, how often, and where."""

    sessions: int  # that land in the night
    days: int  # before it, of as many sessions each
    runs: int
    seed: int
    only: tuple[str, ...]
    workdir: Path | None  # None: a temporary folder
    out: Path
    keep: bool
    drop_landing: bool
    growth: tuple[int, ...]  # sessions a night
    curve_scale: int  # times the sizes of the curves
    ages: tuple[int, ...]  # days of history
    spark_sizes: tuple[int, ...]  # sessions a night; none: those of the night and a tenth of them
    spark_memory: str  # MOSTWATCHED_MEMORY_LIMIT with Spark: that of its Java
    growth_peers: tuple[str, ...]
    history_asofs: int
    memory_limit: str  # the product's, as it writes it
    peers: tuple[str, ...]
    peer_memory_bytes: int
    peer_timeout: float  # seconds
    peer_python: str  # the interpreter that has the peers
    api_pledges: int
    api_seconds: float  # of load, for each thing measured


def parse(argv: Sequence[str] | None = None) -> Options:
    """The options on the command line; exits with a message where they cannot be."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure the nightly job and the read API side by side with their peers, as ratios.",
        epilog="tests/benchmarks/README.md says what each section measures and how fairness is kept.",
    )
    size = parser.add_argument_group("size")
    size.add_argument("--sessions", type=_whole(1000), default=100_000, help="new sessions a night (%(default)s)")
    size.add_argument("--days", type=_whole(8), default=30, help="days of as many before the night (%(default)s)")
    size.add_argument("--runs", type=_whole(1), default=3, help="of every contender; medians count (%(default)s)")
    size.add_argument("--seed", type=int, default=1, help="of the synthetic platform (%(default)s)")
    size.add_argument(
        "--growth",
        type=_sizes,
        default=(20_000, 50_000, 100_000),
        help="nights to compare, in sessions (20000,50000,100000)",
    )
    size.add_argument(
        "--curve-scale", type=_whole(1), default=1, help="times the sizes of the curves of growth (%(default)s)"
    )
    size.add_argument(
        "--ages",
        type=lambda text: tuple(sorted(_whole(8)(part) for part in text.split(","))),
        default=(40, 200, 1000, 3000),
        help="of homes to compare, in days (40,200,1000,3000)",
    )
    size.add_argument(
        "--spark-sizes", type=_sizes, default=(), help="nights on Spark beside DuckDB (the night's, and a tenth of it)"
    )
    size.add_argument("--history-asofs", type=_whole(1), default=10, help="as_of dates of the history (%(default)s)")
    size.add_argument("--api-pledges", type=_whole(0), default=20_000, help="pledges to serve (%(default)s)")
    size.add_argument("--api-seconds", type=float, default=2.0, help="of load, for each thing served (%(default)s)")

    what = parser.add_argument_group("what")
    what.add_argument(
        "--only",
        type=_some(SECTIONS + BY_NAME),
        default=SECTIONS,
        help=f"some of {','.join(SECTIONS)}; and by its name alone {','.join(BY_NAME)}",
    )
    what.add_argument("--peers", type=_some(PEERS), default=PEERS, help=f"some of {','.join(PEERS)}")
    what.add_argument(
        "--growth-peers", type=_some(PEERS), default=("duckdb", "clickhouse", "polars"), help="duckdb,clickhouse,polars"
    )
    what.add_argument("--memory-limit", default="1500MB", help="the product's MOSTWATCHED_MEMORY_LIMIT (%(default)s)")
    what.add_argument("--spark-memory", default="4GB", help="the same for Spark (%(default)s)")
    what.add_argument(
        "--peer-memory", type=_bytes, default=_default_peer_memory(), help="14GB, or 3/4 of the machine if that is less"
    )
    what.add_argument("--peer-timeout", type=float, default=600.0, help="seconds for one question (%(default)g)")
    what.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers (this one)")

    where = parser.add_argument_group("where")
    where.add_argument("--workdir", type=Path, help="for homes and landed files (a temporary folder)")
    where.add_argument("--keep", action="store_true", help="leave them there, and use those of the same size again")
    where.add_argument("--drop-landing", action="store_true", help="remove landed files once they are in: saves disk")
    where.add_argument("--out", type=Path, default=Path("build/bench"), help="for bench.{json,md,svg} (%(default)s)")

    values = vars(parser.parse_args(argv))
    if values["keep"] and values["workdir"] is None:
        parser.error("--keep needs a --workdir")
    # Not resolved: an environment is known by the name that its interpreter is called by.
    values["peer_python"] = str(Path(values["peer_python"]).absolute())
    values["peer_memory_bytes"] = values.pop("peer_memory")
    return Options(**values)


def _whole(at_least: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        number = int(text.replace("_", ""))
        if number < at_least:
            raise argparse.ArgumentTypeError(f"it must be at least {at_least}")
        return number

    return whole


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(sorted(_whole(1000)(part) for part in text.split(",")))


def _some(known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def some(text: str) -> tuple[str, ...]:
        asked = [part.strip() for part in text.split(",") if part.strip()]
        strangers = [part for part in asked if part not in known]
        if strangers or not asked:
            raise argparse.ArgumentTypeError(f"{', '.join(strangers) or 'nothing'}: known are {', '.join(known)}")
        return tuple(one for one in known if one in asked)

    return some


def _bytes(text: str) -> int:
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
    number, unit = text[:-2], text[-2:].upper()
    if unit not in units:
        raise argparse.ArgumentTypeError("it must be an amount such as 14GB")
    return int(float(number) * units[unit])


def _default_peer_memory() -> int:
    installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_PEER_MEMORY_BYTES, int(installed * _PEER_MEMORY_SHARE))
