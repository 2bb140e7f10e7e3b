"""Run a function in a forked child, so that what it does to its process (time zone, clock, threads) stays there.

A fork costs some milliseconds where an interpreter's start costs half a second. The process that forks must not have
run a query or parsed a file: libraries that start threads have then not started them yet.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pipelines.lake.engines.duckdb  # noqa: F401  imported here once, and not in every child

IN_MEMORY = Path("/dev/shm")


class ChildFailed(Exception):
    """The function raised, or its process ended in another way; the text says how."""


def in_child(function: Callable[..., Any], *arguments: Any, seconds: int = 600) -> Any:
    """What the function returns in a child of this process. Raises ChildFailed, also after so many seconds."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(seconds)  # nobody handles it: it ends the process
        try:
            answer = (True, function(*arguments))
        except BaseException as error:
            answer = (False, "".join(traceback.format_exception(error)[-3:]))
        try:
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
            sys.stderr.flush()
        finally:
            os._exit(0)  # never back into the loop of the parent
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        content = pipe.read()
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not content:
        raise ChildFailed(f"its process ended with {ended}")
    went_well, result = pickle.loads(content)  # noqa: S301 (written by our own child)
    if not went_well:
        raise ChildFailed(result)
    return result


@contextmanager
def small_folder(scratch: Path) -> Iterator[Path]:
    """A folder for many small homes: in memory where that is possible, else in `scratch`."""
    where = IN_MEMORY if IN_MEMORY.is_dir() and os.access(IN_MEMORY, os.W_OK) else scratch
    folder = Path(tempfile.mkdtemp(prefix="faults-order-", dir=where))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
