"""What ended a run is said as a sentence."""

from __future__ import annotations

import signal
import threading

import pytest

from pipelines.core.termination import Terminated, interrupts_restored, raise_on_sigterm, reason


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


def test_somebody_elses_handler_stays() -> None:
    """As in a flow of Prefect's; and a thread can handle no signals at all."""
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


def test_other_errors_of_a_query_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="no such table"), interrupts_restored():
        raise RuntimeError("no such table: Query interrupted by nobody")
