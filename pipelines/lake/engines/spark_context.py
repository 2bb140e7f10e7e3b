"""The Spark context of this process: started when first needed, quiet, with no port open that need not be.

One context serves a process: a run starts it and stops it, and one that is there already (of a program that this is
part of, or of the tests) is used and left as it is.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyspark
from pyspark.java_gateway import launch_gateway

from pipelines.core.errors import MostwatchedError

# Whatever the options say, the same rows: days and instants are UTC, and what overflows or cannot be cast is an error.
_FOR_THE_SAME_ROWS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "false",
    "spark.sql.sources.partitionOverwriteMode": "static",
}
_QUIET = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",  # it would be drawn over ours
    "spark.eventLog.enabled": "false",
}
_JAVA_OPTIONS = "spark.driver.extraJavaOptions"
_PYTHON = "spark.pyspark.python"
# A night is minutes, in which Java would spend more on compiling Spark's planner well than a better one saves: what is
# compiled twice must have run twenty times as often as by default, as loops over rows have.
_JAVA_FOR_MINUTES = (
    "-XX:Tier4InvocationThreshold=100000 -XX:Tier4MinInvocationThreshold=12000 "
    "-XX:Tier4CompileThreshold=300000 -XX:Tier4BackEdgeThreshold=800000"
)
# Nobody waits for an answer: no collector need run beside the work, on the same cores. Java starts with one alone.
_COLLECTOR = "-XX:+UseParallelGC"
_JAVAS_OWN = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS")
GONE = (
    "the Java that Spark runs in has ended, for want of memory or because it was stopped. MOSTWATCHED_MEMORY_LIMIT is "
    "what it may use where all runs in it, and spark.driver.memory elsewhere; what is published stays, and the next "
    "run goes on."
)
_SECRET_NAME = re.compile("secret|password|token|access[.]?key", re.IGNORECASE)  # as spark.redaction.regex has it
_ON_THIS_MACHINE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}


class Spark:
    """The context of this process, and the folder that it spills into."""

    def __init__(self, context: Any, folder: Path | None) -> None:
        """`folder` is None for a context that somebody else has started."""
        self.context = context
        self._folder = folder

    def is_gone(self) -> bool:
        """Whether Java has ended: it answers nothing any more."""
        try:
            self.context._jvm.System.nanoTime()
        except Exception:  # of py4j's, or of the socket's below it
            return True
        return False

    def stop(self) -> None:
        """End the context if it is ours, and remove what it spilled."""
        if self._folder is not None:
            if self.is_gone():
                self._forget()
            else:
                self.context.stop()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self) -> None:
        """Of a Java that has ended, keep nothing: the next context of this process starts another."""
        self.context._jsc = None
        self.context.stop()  # what it has in Python
        pyspark.SparkContext._gateway = pyspark.SparkContext._jvm = None


def connect(master: str, options: Mapping[str, str], memory_limit: str, folder: Path) -> Spark:
    """Connect to `master` as Spark writes it; `options` are Spark's own and come before ours.

    Without a master it is that of `spark-submit`, with all that was said there.
    `memory_limit` (2GB) is the driver's where everything runs in it; `folder` is for what is spilled. Raises
    MostwatchedError where the master cannot be reached.
    """
    active = pyspark.SparkContext._active_spark_context
    if active is not None:
        return Spark(active, None)
    return Spark(_context(master, options, memory_limit, folder), folder)


def _context(master: str, options: Mapping[str, str], memory_limit: str, folder: Path) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    configured = {**_QUIET, "spark.local.dir": str(folder)} if master else {}
    if master.startswith("local"):  # executors on this machine: those of its loopback address
        configured |= _ON_THIS_MACHINE
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if asked_python := options.get(_PYTHON):  # which Spark itself reads in spark-submit alone
        os.environ["PYSPARK_PYTHON"] = asked_python
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else `python3`, whatever that is where executors run
    if master.startswith("local["):
        configured["spark.driver.memory"] = f"{max(512, _megabytes(memory_limit))}m"
    if master:  # else Java runs already
        logging = folder / "log4j2.properties"
        logging.write_text(_LOGGING)
        asked = options.get(_JAVA_OPTIONS, "")
        others = " ".join([*options.values(), *(os.environ.get(name, "") for name in _JAVAS_OWN)])
        collector = _COLLECTOR if master.startswith("local[") and "GC" not in others else ""
        said = f"-Dlog4j2.configurationFile=file:{logging} {_JAVA_FOR_MINUTES} {collector} {asked}".strip()
        options = {**options, _JAVA_OPTIONS: said}
    conf = pyspark.SparkConf().setAppName("mostwatched")
    if master:
        conf.setMaster(master)
    for name, value in {**configured, **options, **_FOR_THE_SAME_ROWS}.items():
        conf.set(name, value)
    try:
        gateway = _start_java(conf) if master else None
        context = pyspark.SparkContext(conf=conf, gateway=gateway)
    except Exception as error:  # of Python's, of py4j's, of Java's: whatever keeps it from starting
        shutil.rmtree(folder, ignore_errors=True)
        where = master or "the master of spark-submit"
        raise MostwatchedError(f"Spark cannot be started on {where}: {error_message(error)}") from error
    # Before what the executors have in their own PYTHONPATH: this very package, where they see it under this path.
    context.environment.setdefault("PYTHONPATH", str(Path(__file__).resolve().parents[3]))
    return context


def _start_java(conf: Any) -> Any:
    """Start the driver's Java, and return the gateway to it.

    Its arguments, which every user of the machine can read, hold the options, but for those that Spark itself takes for
    secrets: those follow over the gateway, which asks for a token of its own.
    """
    shown = pyspark.SparkConf()
    # safeguard: spark-secrets-in-no-argument
    shown.setAll([(name, value) for name, value in conf.getAll() if not _SECRET_NAME.search(name)])
    return launch_gateway(shown)


def error_message(error: BaseException) -> str:
    """Return the message of an error of Spark's and its root cause, without Java's stack frames.

    Of what was raised in a task of ours it is that: the end of Python's traceback.
    """
    try:
        return _error_message(error)
    except Exception:  # it asks Java, which may end this very moment
        return GONE


def _error_message(error: BaseException) -> str:
    if raised := _raised_in_a_task(str(error)):
        return raised if raised.endswith(".") else f"{raised}."
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    java = getattr(error, "java_exception", None)
    first = str(java.toString()).splitlines()[0] if java is not None else (lines or [type(error).__name__])[0]
    said = f"{first} ({causes[-1]})" if causes and causes[-1] not in first else first
    return said if said.endswith(".") else f"{said}."


def _raised_in_a_task(text: str) -> str:
    """The line below Python's last traceback; nothing where there is none."""
    _, found, below = text.rpartition("Traceback (most recent call last):\n")
    lines = below.splitlines() if found else []
    raised = next((line.strip() for line in lines if line.strip() and not line[0].isspace()), "")
    return raised.removeprefix(f"{MostwatchedError.__module__}.{MostwatchedError.__name__}: ")


def _megabytes(memory: str) -> int:
    """`2GB` or `1.5 GiB` in MiB, as Java counts."""
    number, unit = "".join(c for c in memory if c in "0123456789."), memory.strip("0123456789. ")
    base = 1024 if "i" in unit else 1000
    return int(float(number) * base ** "_KMGT".index(unit[0]) / (1 << 20))


# Errors alone, on stderr: stdout is ours.
_LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = spark: %p %c{1}: %m%n%ex{0}
"""
