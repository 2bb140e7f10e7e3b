"""Measure, and write the report: `python -m tests.benchmarks --help`."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks import (
    age,
    api,
    growth,
    history,
    ingestion,
    late,
    machine,
    night,
    options,
    report,
    sizing,
    spark,
    svg,
    window,
)
from tests.benchmarks.answers import DifferentAnswers
from tests.benchmarks.contenders import tell
from tests.benchmarks.options import Options
from tests.benchmarks.process import Failed
from tests.benchmarks.report import Section
from tests.benchmarks.workload import Workload, prepare

_SECTIONS: dict[str, Callable[[Options, Workload], Section]] = {
    "night": night.measure,
    "window": window.measure,
    "history": history.measure,
    "ingest": ingestion.measure,
    "late": late.measure,
    "growth": growth.measure,
    "age": age.measure,
    "spark": spark.measure,
    "sizing": sizing.measure,
    "api": api.measure,
}
_PLACES = frozenset({"workdir", "out", "keep", "peer_python"})  # arguments that say where, not what


def main() -> int:
    """Measure what was asked for. Exit code 1 when two contenders gave different answers, or the product failed."""
    asked = options.parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    facts = machine.facts(asked.peer_python)
    started = time.perf_counter()
    sections: list[Section] = []
    try:
        with _workdir(asked) as root:
            workload = prepare(asked, root, asked.sessions)
            for name in asked.only:
                tell(f"{name} (after {time.perf_counter() - started:.0f} s)")
                sections.append(_SECTIONS[name](asked, workload))
    except (DifferentAnswers, Failed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    _write(asked, facts, sections)
    tell(f"{time.perf_counter() - started:.0f} s")
    return 0


@contextmanager
def _workdir(asked: Options) -> Iterator[Path]:
    if asked.workdir is not None:
        asked.workdir.mkdir(parents=True, exist_ok=True)
    root = asked.workdir if asked.keep and asked.workdir else Path(tempfile.mkdtemp(dir=asked.workdir))
    try:
        yield root.resolve()
    finally:
        if not asked.keep:
            shutil.rmtree(root, ignore_errors=True)


def _write(asked: Options, facts: dict[str, object], sections: list[Section]) -> None:
    # Without what says where it ran.
    arguments = {name: value for name, value in asdict(asked).items() if name not in _PLACES}
    said = ", ".join(f"{name} {_text(value)}" for name, value in arguments.items())
    text = report.markdown(sections, machine.line(facts), said)
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "bench.md").write_text(text, encoding="utf-8")
    content = json.dumps(report.as_json(sections, facts, arguments), indent=1, ensure_ascii=False, default=str)
    (asked.out / "bench.json").write_text(content + "\n", encoding="utf-8")
    (asked.out / "bench.svg").write_text(svg.draw(sections), encoding="utf-8")
    print(text, end="")


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


if __name__ == "__main__":
    sys.exit(main())
