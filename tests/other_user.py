"""Do something as another user of the machine. Needs root."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

import pytest

NOBODY = 65_534
GROUP = 23_456  # of the API's user

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user")


def become(group: int = NOBODY) -> None:
    """Be nobody from now on, in one group."""
    os.setgroups([])
    os.setgid(group)
    os.setuid(NOBODY)


def as_nobody(function: Callable[[], Any], group: int = NOBODY) -> Any:
    """Return what a function returns, as JSON knows it, when another user calls it.

    In a child without another program: that user may not be able to start this Python. What it needs is imported.
    """
    result, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(group)
            os.write(write, json.dumps(function()).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(result) as lines:
        said = lines.read()
    os.waitpid(child, 0)
    return json.loads(said)
