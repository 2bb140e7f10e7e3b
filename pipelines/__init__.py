"""Most-watched creators: from landed viewing sessions to served rankings.

One straight line, and the module that implements each step:

    landing/      files the platform drops             landing/, landing/schema.py
      -> raw      typed Parquet, rejected records      raw/ingest.py, raw/catalog.py
      -> lake     sessions, viewer_days, the cube      lake/plan.py, lake/models.py and the SQL in sql/
      -> snapshot verified, immutable tables           snapshots/publish.py
      -> readers  the read API, the command line       snapshots/manifest.py, api/, cli/

jobs/nightly.py walks the line once; jobs/prefect_flows.py does the same under Prefect. core/durable_files.py is how any
file gets to disk, core/row_digest.py names the rows in it. jobs/run_lifecycle.py writes the report, metrics,
notifications and log of a run: jobs/report/, jobs/metrics.py, jobs/notify.py, core/logs.py. remote/ handles homes and
landing folders in a bucket.

Each package imports only those that stand right of it:

    cli -> jobs -> remote -> snapshots -> lake -> raw -> landing -> core

api/ imports snapshots/manifest.py and core/ alone.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mostwatched")
except PackageNotFoundError:  # run from a checkout that is not installed
    __version__ = "0+unknown"
