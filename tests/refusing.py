"""True limits of the operating system, so that it refuses without anything being mocked."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def at_most(which: int, limit: int) -> Iterator[None]:
    """Inside, this process may have so much of it: descriptors, bytes in a file."""
    before = resource.getrlimit(which)
    resource.setrlimit(which, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(which, before)


def no_descriptors() -> AbstractContextManager[None]:
    """As in a process that has opened as many files as it may."""
    return at_most(resource.RLIMIT_NOFILE, 0)


def no_space() -> AbstractContextManager[None]:
    """Nearly as on a full disk: files can be made and named, but nothing can be written."""
    return at_most(resource.RLIMIT_FSIZE, 0)
