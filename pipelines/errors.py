"""Every error the system raises on purpose, each with the exit code the command line gives it.

A message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations


class MostwatchedError(Exception):
    """Something failed in a way that we understand. Exit code 1."""

    exit_code = 1


class UsageError(MostwatchedError):
    """The caller asked for something that cannot be: an unknown id, a range outside the snapshot. Exit code 2."""

    exit_code = 2


class RefusedToPublish(MostwatchedError):
    """The night was worked out, but publishing it could mislead: the last snapshot stays. Exit code 3."""

    exit_code = 3


class Busy(MostwatchedError):
    """Another run holds the lock of this home. Exit code 4."""

    exit_code = 4


class Damaged(MostwatchedError):
    """A stored file is missing or is not what its sha256 says. Exit code 1."""


class NoSnapshot(MostwatchedError):
    """Nothing has been published in this home yet. Exit code 1."""
