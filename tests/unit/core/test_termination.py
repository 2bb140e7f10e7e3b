"""What ended a run is said as a sentence."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

import pytest

from pipelines.core import termination
from pipelines.core.termination import Terminated, interrupts_restored, raise_on_sigterm, reason
from pipelines.lake.engines import duckdb


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("a bad value"), "a bad value"),
        (KeyError(), "KeyError"),
        (Terminated(), "The process was told to end (SIGTERM)."),
        (SystemExit(1), "The process was told to end (SystemExit)."),
        (KeyboardInterrupt(), "The process was told to end (KeyboardInterrupt)."),
    ],
)
def test_the_reason(error: BaseException, said: str) -> None:
    assert reason(error) == said


def test_the_signal_is_handled_inside_alone() -> None:
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(Terminated), raise_on_sigterm():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_does_not_cut_short_the_first() -> None:
    with raise_on_sigterm():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Terminated:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_c_code_drops_is_raised_again(number: int, raised: type[BaseException]) -> None:
    """Ctypes drops whatever a callback raises, as DuckDB does at times."""

    def drop_and_go_on() -> None:
        ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at:
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(raised), raise_on_sigterm():
            drop_and_go_on()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_between_a_block_and_its_end_waits_for_the_end() -> None:
    """Raised as a context manager is left, it would leave out what that has to undo."""
    left: list[str] = []

    def go_on() -> None:
        with ExitStack() as stack:
            stack.callback(signal.raise_signal, signal.SIGTERM)
        left.append("whole")
        give_up_at = time.monotonic() + 20
        while time.monotonic() < give_up_at:
            time.sleep(0.01)

    with pytest.raises(Terminated), raise_on_sigterm():
        go_on()
    assert left == ["whole"]


def test_what_unwinds_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a `finally`, nor where that handles an error of its own, nor at the end of a `with`."""
    monkeypatch.setattr(termination, "REPEAT_SECONDS", 0.01)
    whole: list[str] = []

    @contextmanager
    def slow() -> Iterator[None]:
        try:
            yield
        finally:
            time.sleep(0.1)
            whole.append("with")

    def unwind() -> None:
        with slow():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                try:
                    raise ValueError
                except ValueError:
                    for _ in range(10):
                        time.sleep(0.01)
                    whole.append("finally")

    with pytest.raises(Terminated), raise_on_sigterm():
        unwind()
    assert whole == ["finally", "with"]


def test_somebody_elses_handler_stays() -> None:
    """And is called; a thread can handle no signals at all."""
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: seen.append(number))
    try:
        with raise_on_sigterm():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]
    entered: list[bool] = []

    def enter() -> None:
        with raise_on_sigterm():
            entered.append(True)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert entered == [True]


class TheirSignal(BaseException):
    """Of somebody else's handler."""


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_what_somebody_elses_handler_raises_ends_a_query(threads: int) -> None:
    """As in a flow of Prefect's, which a worker tells to end while one task of a query lasts for hours."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        raise TheirSignal

    before = signal.signal(signal.SIGTERM, handle)
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM))
    pairs = "range(1000000) a, range(1000000) b"
    try:
        closed = duckdb.connect("1GB", threads, None)
        closed.close()  # it cannot be interrupted any more, and keeps no other from being
        with closing(duckdb.connect("1GB", threads, None)) as connection:
            timer.start()
            with pytest.raises(TheirSignal), interrupts_restored():
                connection.execute(f"select sum(hash(a.range * b.range) % 7) from {pairs}").fetchall()
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        del closed
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


def test_other_errors_of_a_query_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="no such table"), interrupts_restored():
        raise RuntimeError("no such table: Query interrupted by nobody")
