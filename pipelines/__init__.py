"""Most-watched creators: from landed viewing sessions to served rankings.

One straight line, and the module that draws each arrow of it:

    landing/      files the platform drops             landing/, contracts.py
      -> raw      typed Parquet, rejected records      ingest.py, raw.py
      -> lake     sessions, viewer_days, the cube      build.py, models.py and the SQL in sql/
      -> snapshot verified, immutable tables           publish.py
      -> readers  the read API, the command line       snapshots.py, api/, cli.py

nightly.py walks the line once; flows.py does the same under Prefect. store.py is how any file gets to disk,
row_digest.py what its rows are called.
telling.py is what a run leaves behind and whom it tells: report/, run_metrics.py, notify.py, logs.py.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mostwatched")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
