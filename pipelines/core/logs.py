"""Log lines: one JSON object a line on stderr, for machines; or plain words, of warnings and errors alone.

Nothing that others wrote can break a line or reach a terminal raw, and no password or token is in one: what stands
between `://` and `@`, and what follows `Bearer`, is left out of every line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from pipelines.core.text import printable

run_log = logging.getLogger("mostwatched.night")  # what runs and commands log to

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
    "flow_run_id",
    "task_run_id",
}
_SECRETS = re.compile(r"(?<=://)[^/\s]+@|(?<=\bBearer )\S+|(?<=\bbearer )\S+")


class JsonLines(logging.Formatter):
    """A record as one JSON object; what a record carries in `extra` becomes further keys.

    Escaping is JSON's (ASCII only), so nothing that a client sends can break a line or reach a terminal raw.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return without_secrets(json.dumps(line, default=str))


class PlainLines(logging.Formatter):
    """A record as plain text for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        return f"mostwatched: {without_secrets(printable(record.getMessage()))}"


class TextLines(logging.Formatter):
    """A record as a log line for people: time, level, logger, message, and its extra keys as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end; of an exception some more."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        more = "".join(f" {key}={value!r}" for key, value in record.__dict__.items() if key not in _STANDARD)
        lines = [f"{at} {record.levelname:<8} {record.name}: {record.getMessage()}{more}"]
        if record.exc_info:
            lines += [f"    {line}" for line in self.formatException(record.exc_info).splitlines()]
        return without_secrets("\n".join(map(printable, lines)))


def without_secrets(text: str) -> str:
    """Return text without secrets."""
    return _SECRETS.sub(_hidden, text)  # safeguard: password-not-logged


def _hidden(found: re.Match[str]) -> str:
    return "***@" if found[0].endswith("@") else "***"


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is now, not to what it was when the handler was made."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    @property
    def stream(self) -> TextIO:
        """See logging.StreamHandler."""
        return sys.stderr

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Set by the handler's own constructor."""


def configure(log_format: str | None) -> None:
    """Set the log format of the commands of this process: plain text, or JSON alone."""
    is_json = log_format == "json"
    run_log.handlers[:] = [_Stderr(JsonLines() if is_json else PlainLines())]
    run_log.propagate = False
    run_log.setLevel(logging.INFO if is_json else logging.WARNING)
    if is_json:
        logging.basicConfig(level=logging.WARNING, handlers=[_Stderr(JsonLines())], force=True)
        logging.captureWarnings(True)
        sys.excepthook = _log_the_end


def redirect_handlers() -> None:
    """Where logs are JSON, format those of libraries with handlers of their own as JSON, too."""
    if not are_json():
        return
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    for logger in loggers:
        for number, handler in enumerate(logger.handlers):
            # Not of files, which are a kind of it, nor of what tests put there.
            is_of_a_terminal = isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout)
            if is_of_a_terminal and not isinstance(handler, _Stderr):
                ours = _Stderr(JsonLines())
                ours.setLevel(handler.level)
                logger.handlers[number] = ours


def are_json() -> bool:
    """Whether lines are JSON in this process."""
    return any(isinstance(handler.formatter, JsonLines) for handler in run_log.handlers)


def configure_server(log_format: str | None, level: str) -> None:
    """Make every logger of this process, uvicorn's too, write to stderr: JSON lines, unless text is asked for."""
    handler = _Stderr(TextLines() if log_format == "text" else JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("botocore").setLevel(logging.WARNING)  # it tells where it has found credentials
    logging.captureWarnings(True)
    threading.excepthook = _log_the_end_of_a_thread


def _log_the_end(kind: type[BaseException], error: BaseException, _traceback: TracebackType | None) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        run_log.critical("ended by an error that nobody expected", exc_info=error)


def _log_the_end_of_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        logging.getLogger("mostwatched.api").critical("a thread has ended", exc_info=ended.exc_value)
