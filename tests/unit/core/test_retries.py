"""What may pass is tried again, and nothing else."""

from __future__ import annotations

import errno

import pytest

from pipelines.core import retries
from pipelines.core.errors import Busy, Damaged, RefusedToPublish, Unreachable, UsageError


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "input/output error"), True),
        (OSError(errno.ESTALE, "stale file handle"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (Unreachable("no answer"), True),
        (Unreachable("no rights", may_pass=False), False),
        (OSError(errno.ENOSPC, "no space left"), False),
        (PermissionError(errno.EACCES, "permission denied"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (RefusedToPublish(), False),
        (Damaged(), False),
        (UsageError(), False),
        (Busy(), False),
        (ValueError(), False),
        (None, False),
    ],
)
def test_only_what_is_transient_passes(error: BaseException | None, passes: bool) -> None:
    assert retries.is_transient(error) is passes


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2), (2, 3)])
def test_what_passes_is_tried_again(
    failures: int, calls: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With a growing wait before each try, and a line that says why."""
    waits: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", waits.append)
    monkeypatch.setattr(retries.logs.run_log, "propagate", True)
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 10.0)
    tries: list[int] = []

    def work() -> str:
        tries.append(1)
        if len(tries) <= failures:
            raise OSError(errno.EIO, "the disk hiccupped")
        return "done"

    assert retries.retried(work) == "done"
    assert len(tries) == calls
    lines = {id(record): record.getMessage() for record in caplog.records}  # each may have come by two loggers
    assert len(waits) == len(lines) == failures
    assert all(8 * 4**attempt <= wait <= 12 * 4**attempt for attempt, wait in enumerate(waits))
    assert all("the disk hiccupped. Trying again in" in line for line in lines.values())


def test_a_bug_is_not_tried_again_and_what_does_not_pass_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[BaseException] = []

    def fail(error: Exception) -> None:
        tries.append(error)
        raise error

    with pytest.raises(KeyError):
        retries.retried(lambda: fail(KeyError("a bug")))
    assert len(tries) == 1
    with pytest.raises(Unreachable):
        retries.retried(lambda: fail(Unreachable("no answer")))
    assert len(tries) == 1 + 1 + retries.RETRIES
