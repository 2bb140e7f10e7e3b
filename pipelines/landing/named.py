"""What an object of a bucket is by its name alone: the same that files.py makes of a file of that name."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from pipelines.contracts import ENTITIES
from pipelines.landing.files import Ignored, LandedFile, is_unfinished, landed_file


def named(root: Path, name: str) -> LandedFile | Ignored:
    """The landed file that an object comes to when it is brought to `root`, or why it is not read."""
    entity, *inner = PurePosixPath(name).parts
    if entity not in ENTITIES:
        return Ignored(root / entity, f"not an entity: those are {', '.join(ENTITIES)}")
    if not inner:
        return Ignored(root / entity, "not a folder")
    return landed_file(root, entity, PurePosixPath(name).as_posix(), str(root / name))


def unfinished_part(name: str) -> str | None:
    """The beginning of a name that says that what has it is not complete yet."""
    parts = PurePosixPath(name).parts
    for number, part in enumerate(parts, 1):
        if is_unfinished(part):
            return PurePosixPath(*parts[:number]).as_posix()
    return None
