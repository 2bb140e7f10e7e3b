"""Try again what failed for a reason that may pass. It must be safe to repeat, as every run is."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

from pipelines.core import logs
from pipelines.core.errors import Unreachable

Result = TypeVar("Result")

RETRIES = 2
FIRST_WAIT_SECONDS = 10.0  # four times as long before the second: about a minute in all

# What a network file system or a busy machine gets over; a full disk or a wrong permission is not among it.
_TRANSIENT = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENFILE,
    }
)


def retried(function: Callable[[], Result]) -> Result:
    """Return what `function` returns, called up to RETRIES times more while it raises what may pass."""
    for attempt in range(RETRIES):
        try:
            return function()
        except Exception as error:
            if not is_transient(error):
                raise
            # With jitter: what failed on many machines at once is not tried again on all of them at once.
            seconds = FIRST_WAIT_SECONDS * 4**attempt * random.uniform(0.8, 1.2)
            logs.run_log.warning("%s. Trying again in %.0f seconds.", str(error).rstrip("."), seconds)
        time.sleep(seconds)
    return function()


def is_transient(error: BaseException | None) -> bool:
    """Whether a retry may succeed. Refusals, damage and wrong usage are never transient."""
    if isinstance(error, Unreachable):
        return error.may_pass
    return isinstance(error, TimeoutError | ConnectionError) or (
        isinstance(error, OSError) and error.errno in _TRANSIENT
    )
