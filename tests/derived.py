"""Files of the lake are named by what they are derived from: a name stands for the same rows wherever it is met."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


def derived_files(lake: Path) -> Iterator[tuple[str, str]]:
    """(name under the lake, digest of its rows) of every derived file."""
    for sidecar in sorted(lake.rglob("*.json")):
        name = sidecar.relative_to(lake)
        if name.parts[0] != "raw" and "digest" in (facts := json.loads(sidecar.read_bytes())):
            yield name.with_suffix(".parquet").as_posix(), facts["digest"]


class NamedByRows:
    """Remembers the rows of every derived file by its name, over many builds, homes and engines."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def look_at(self, lake: Path) -> int:
        """Assert that no name stands for other rows than before; how many names were met that were known."""
        known, different = 0, []
        for name, digest in derived_files(lake):
            known += name in self.digests
            if self.digests.setdefault(name, digest) != digest:
                different.append(name)
        assert not different, f"the same inputs, and other rows: {different}"
        return known
