"""What a figure depends on besides the code: nothing that would name the machine."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tests.benchmarks.process import must, python

_PRODUCT = ("duckdb", "polars", "pyarrow", "msgspec", "starlette", "uvicorn", "joserfc")
_PEERS = ("duckdb", "chdb-core", "polars", "datafusion", "pyarrow")


def facts(peer_python: str) -> dict[str, Any]:
    """Cores, memory in bytes, versions; those of the peers where they are installed."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "libraries": versions(_PRODUCT),
        "peers": json.loads(must(python("tests.benchmarks.machine", interpreter=peer_python)).stdout),
    }


def line(of: dict[str, Any]) -> str:
    """The same in one line."""
    libraries, peers = (
        ", ".join(f"{name} {found}" for name, found in of[part].items()) for part in ("libraries", "peers")
    )
    return (
        f"{of['cores']} cores ({of['processor']}), {of['memory_bytes'] / 1e9:.0f} GB, {of['system']}, "
        f"Python {of['python']}; {libraries}; peers: {peers}"
    )


def versions(names: Iterable[str]) -> dict[str, str]:
    """Of what is installed for this interpreter."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [one.partition(":")[2].strip() for one in lines if one.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    print(json.dumps(versions(_PEERS)))
