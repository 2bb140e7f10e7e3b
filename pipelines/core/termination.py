"""SIGTERM as an exception, so that a command that is told to end says so before it does."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

# What DuckDB says of an exception that the handler of a signal raised: within a query, and within a source of Arrow's.
_INTERRUPTED = re.compile(r"^Query interrupted$|source failed: (KeyboardInterrupt|Terminated|TerminationSignal)\b")


class Terminated(BaseException):
    """SIGTERM told this process to end. No `except Exception` keeps it from doing so."""

    def __init__(self) -> None:
        super().__init__("The process was told to end (SIGTERM).")


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one does not cut short what is written because of this one
    raise Terminated


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated in the main thread; it is ignored while that unwinds.

    Does nothing in another thread, or where somebody else handles the signal.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)  # safeguard: sigterm-handled
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_restored() -> Iterator[None]:
    """Raise what the handler of a signal raised inside, while DuckDB ran a query.

    DuckDB drops that exception and raises an error of its own in its place, which reads like a failure.
    """
    try:
        yield
    except Exception as error:
        if not _INTERRUPTED.search(str(error)):  # safeguard: interrupt-restored
            raise
        # Ours ignores the signal once it has come; where another's stands, as in a flow of Prefect's, it was that one.
        is_sigterm = signal.getsignal(signal.SIGTERM) not in (signal.SIG_DFL, _terminate)
        raise (Terminated() if is_sigterm else KeyboardInterrupt()) from None


def reason(error: BaseException) -> str:
    """What ended a run, as a sentence: an exit, which carries only a code, and Prefect's own signal say so."""
    if isinstance(error, Exception | Terminated):
        return str(error) or type(error).__name__
    return f"The process was told to end ({type(error).__name__})."  # safeguard: exit-code-is-no-reason


def die_of_sigterm() -> NoReturn:
    """End this process by the signal itself, as if nobody had handled it: supervisors know that from a failure."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(128 + signal.SIGTERM)  # it was blocked
