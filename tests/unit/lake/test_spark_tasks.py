"""What runs on an executor is what the driver would run; what went wrong there is said in one sentence."""

from __future__ import annotations

import pickle
import platform
import shutil
import zipfile
from pathlib import Path

import pytest

import pipelines
from pipelines.core.errors import MostwatchedError
from pipelines.lake.engines.spark_tasks import SameProgram, digest_of, program


def test_an_executor_with_the_same_program_does_the_work():
    """The function's own result, also after the way to the executor."""
    task = pickle.loads(pickle.dumps(SameProgram(len, program())))  # noqa: S301 - its own bytes
    assert task([1, 2, 3]) == 3


@pytest.mark.parametrize("name", ["mostwatched", "polars", "pyarrow"])
def test_an_executor_with_another_program_refuses(name):
    """Another version of this package, or of what files are read with: nothing is done, and it says where and what."""
    called: list[int] = []
    task = SameProgram(called.append, {**program(), name: "0.0"})
    expected = rf"executor on {platform.node()} runs another program.*: {name} \S+ instead of 0\.0\. Give both"
    with pytest.raises(MostwatchedError, match=expected):
        task(1)
    assert called == []


def test_a_program_is_known_by_its_text(tmp_path):
    """Every module counts, whatever version the package says that it is; where it lies does not, nor whether packed."""
    package = Path(pipelines.__file__).parent
    copy = tmp_path / "pipelines"
    shutil.copytree(package, copy)
    packed = zipfile.Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "pipelines"), "pipelines/")
    assert digest_of(copy) == digest_of(packed) == program()["mostwatched"]
    for change in ("landing/lines.py", "core/errors.py"):
        text = (package / change).read_text()
        (copy / change).write_text(text + "\n")
        assert digest_of(copy) != program()["mostwatched"]
        (copy / change).write_text(text)


PYTHON_RAISED = """An error occurred while calling o52.collectToPython.
: org.apache.spark.SparkException: [TASK_FAILED] Task 0 failed: PythonException: Traceback (most recent call last):
  File "/opt/spark/python/lib/pyspark/worker.py", line 1, in main
    process()
{raised}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:581)
Driver stacktrace:
\tat org.apache.spark.scheduler.DAGScheduler.abortStage(DAGScheduler.scala:3122)
Caused by: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "/opt/spark/python/lib/pyspark/worker.py", line 1, in main
    process()
{raised}

\tat org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handlePythonException(PythonRunner.scala:581)
"""


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ModuleNotFoundError: No module named 'pyarrow'", "ModuleNotFoundError: No module named 'pyarrow'."),
        ("pipelines.core.errors.MostwatchedError: The executor is another.", "The executor is another."),
    ],
)
def test_what_a_task_raised_is_what_is_said(raised, said):
    """Not the frames of Java that it came through."""
    context = pytest.importorskip("pipelines.lake.engines.spark_context", reason="no pyspark", exc_type=ImportError)
    assert context.error_message(RuntimeError(PYTHON_RAISED.format(raised=raised))) == said
