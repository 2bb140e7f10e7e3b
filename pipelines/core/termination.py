"""SIGTERM as an exception, so that a command that is told to end says so before it does."""

from __future__ import annotations

import _thread
import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from types import FrameType
from typing import NoReturn, Protocol, TypeAlias
from weakref import WeakSet

# What DuckDB says of an exception that the handler of a signal raised, within a query and within a source of Arrow's,
# and of a query that was interrupted.
_INTERRUPTED = re.compile(
    r"^Query interrupted$|^INTERRUPT Error: Interrupted!|"
    r"source failed: (KeyboardInterrupt|Terminated|TerminationSignal)\b"
)
REPEAT_SECONDS = 0.5


class Terminated(BaseException):
    """SIGTERM told this process to end. No `except Exception` keeps it from doing so."""

    def __init__(self) -> None:
        super().__init__("The process was told to end (SIGTERM).")


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


class _Interruptible(Protocol):
    def interrupt(self) -> None: ...


_interruptible: WeakSet[_Interruptible] = WeakSet()


def register_interruptible(connection: _Interruptible) -> None:
    """Interrupt this connection when the process is told to end, as long as it is there."""
    _interruptible.add(connection)


def _interrupt_all() -> None:
    with suppress(RuntimeError):  # one came meanwhile: the next time, then
        for connection in list(_interruptible):
            with suppress(Exception):  # DuckDB's, of one that is closed
                connection.interrupt()


Handler: TypeAlias = Callable[[int, FrameType | None], object]


class _Ending:
    """Handles SIGTERM and SIGINT, with a thread that sees to it that the process ends because of them.

    A handler waits until the main thread is back in Python, which takes hours within a query; and what it raises in a
    callback of C code is dropped at times. The thread interrupts the query, and has the handler called again until
    what it raised is being handled.
    """

    def __init__(self, handlers: Mapping[int, Handler]) -> None:
        """`handlers` by signal; SIGTERM's is among them."""
        self.raised: BaseException | None = None
        self._handlers = handlers
        self._calls = 0
        self._is_unwinding = False
        self._is_over = threading.Event()
        self._received, self._receive = os.pipe()
        os.set_blocking(self._receive, False)
        self._thread = threading.Thread(target=self._watch, name="ends on a signal", daemon=True)

    def open(self) -> None:
        """Take over the signals of this process."""
        self._before = {number: signal.signal(number, self.on_signal) for number in self._handlers}
        self._wakeup_before = signal.set_wakeup_fd(self._receive, warn_on_full_buffer=False)
        self._thread.start()

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Call the signal's handler. What unwinds because of one is not cut short by another SIGTERM."""
        if frame is not None and frame.f_globals is vars(contextlib):
            return  # as a `with` begins or ends, its end would be left out; the thread has this called again
        try:
            if number != signal.SIGTERM or self.raised is None:
                self._handlers[number](number, frame)
            elif _is_being_handled(self.raised):
                self._is_unwinding = True
            else:
                raise self.raised
        except BaseException as error:
            self.raised = error
            raise
        finally:
            self._calls += 1  # at last: the thread looks at the others then

    def wait(self) -> None:
        """Wait until a signal that came has been handled, which raises here."""
        give_up_at = time.monotonic() + 4 * REPEAT_SECONDS
        while self.raised is None and time.monotonic() < give_up_at:
            time.sleep(REPEAT_SECONDS / 10)

    def close(self) -> None:
        """Give the signals back."""
        self._is_over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._receive)
        self._thread.join()
        os.close(self._received)

    def _watch(self) -> None:
        while (number := os.read(self._received, 1)) and number[0] not in self._handlers:
            pass
        calls = 0
        while not self._is_over.wait(REPEAT_SECONDS) and not self._is_unwinding and _in_charge() is self:
            if self._calls == calls:
                _interrupt_all()  # safeguard: query-interrupted
            elif self.raised is None:
                return  # the handler raises nothing
            calls = self._calls
            _thread.interrupt_main(signal.SIGTERM)  # safeguard: lost-signal-repeated


def _in_charge() -> _Ending | None:
    """What handles SIGTERM now, if it is one of these."""
    ending = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    return ending if isinstance(ending, _Ending) else None


def _is_being_handled(raised: BaseException) -> bool:
    """Whether what a signal raised is being handled at this moment: in an `except`, a `finally` or a `with`."""
    error = sys.exc_info()[1]
    while error is not None and type(error) is not type(raised):
        error = error.__context__
    return error is not None


@contextmanager
def raise_on_sigterm() -> Iterator[None]:
    """Inside, SIGTERM raises Terminated in the main thread, and SIGINT KeyboardInterrupt, also where C code drops it.

    SIGTERM is ignored while either unwinds. A handler of somebody else's, as in a flow of Prefect's, is called in place
    of ours. Does nothing in another thread, or where SIGTERM is ignored or handled like this already.
    """
    before = signal.getsignal(signal.SIGTERM)
    is_left_alone = before in (signal.SIG_IGN, None) or _in_charge() is not None
    if is_left_alone or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers: dict[int, Handler] = {signal.SIGTERM: before if callable(before) else _terminate}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = signal.default_int_handler
    ending = _Ending(handlers)
    ending.open()  # safeguard: sigterm-handled
    try:
        yield
    finally:
        ending.close()


@contextmanager
def interrupts_restored() -> Iterator[None]:
    """Raise what the handler of a signal raised inside, while DuckDB ran a query.

    DuckDB drops that exception and raises an error of its own in its place, which reads like a failure.
    """
    handles = callable(signal.getsignal(signal.SIGTERM))
    with raise_on_sigterm() if handles else nullcontext():
        try:
            yield
        except Exception as error:
            if not _INTERRUPTED.search(str(error)):  # safeguard: interrupt-restored
                raise
            if (ending := _in_charge()) is None:
                raise KeyboardInterrupt from None
            ending.wait()
            raise (ending.raised or KeyboardInterrupt()) from None


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
