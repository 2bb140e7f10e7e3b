"""What a lake holds where nothing landed: a file without rows for each model, the same on every platform.

The first night of a platform makes some twenty of them, half of its work. A file of the lake is a pure function
of its inputs and named by them, so those of one night over nothing are laid into the lakes of all platforms of a
session. Without that night (in the attacks of faults/, say) nothing is laid into any.
"""

from __future__ import annotations

from pathlib import Path

_made: dict[Path, bytes] = {}


def learn(lake: Path) -> None:
    """Remember what a night over nothing has made."""
    for path in lake.glob("*/*.*"):
        if path.suffix in (".parquet", ".json"):
            _made[path.relative_to(lake)] = path.read_bytes()


def lay(lake: Path) -> None:
    """Put them into a lake that is not there yet."""
    for name, content in _made.items():
        path = lake / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
