"""Machines that work on one home in a bucket."""

from __future__ import annotations

import shutil
from pathlib import Path

from s3 import Bucket

from pipelines.core.settings import Settings, load

AS_OF = "2026-01-31"
ACCEPT = {"accept_rejects": True, "allow_incomplete": True}


class Machines:
    """Machines with a copy of the home each, and none of the copies when they start."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket = bucket
        self.folder = folder

    def environ(self, name: str) -> dict[str, str]:
        return {
            "MOSTWATCHED_HOME": f"{self.bucket.url}/home",
            "MOSTWATCHED_CACHE": str(self.folder / name),
            "MOSTWATCHED_S3_ENDPOINT": self.bucket.server.url,
            "MOSTWATCHED_S3_TIMEOUT_SECONDS": "5",
            "MOSTWATCHED_MAX_WINDOW_DAYS": "30",
            "MOSTWATCHED_THREADS": "1",
            "MOSTWATCHED_MEMORY_LIMIT": "500MB",
        }

    def settings(self, name: str, **more: str) -> Settings:
        return load(environ=self.environ(name) | more)

    def forget(self, name: str) -> None:
        """The machine is gone, with all that was on it."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
