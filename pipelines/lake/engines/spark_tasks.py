"""Tasks on executors: they run a function only where the program is the same as the driver's.

Files that an executor writes are named as if the driver had written them. With another version of this package, or of
the libraries that it reads files with, their rows might differ: then the task raises an error and does nothing.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Generic

from pipelines.core.errors import MostwatchedError
from pipelines.lake.engines import Item, Result

_READ_WITH = ("msgspec", "polars", "pyarrow", "zstandard")  # and written


@cache
def program() -> Mapping[str, str]:
    """Return what decides how this process reads and writes: versions of libraries, and a digest of this package."""
    return {"mostwatched": digest_of(files("pipelines")), **{name: _version(name) for name in _READ_WITH}}


def digest_of(package: Traversable) -> str:
    """Twelve digits of the sha256 of all modules of a package, wherever it was installed, also inside of an archive."""
    text = hashlib.sha256()
    for name, module in sorted(_modules(package)):
        text.update(f"{name}\n".encode() + module)
    return text.hexdigest()[:12]


def _modules(folder: Traversable, above: str = "") -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        if each.is_dir():
            yield from _modules(each, f"{above}{each.name}/")
        elif each.name.endswith(".py"):
            yield f"{above}{each.name}", each.read_bytes()


@dataclass(frozen=True)
class SameProgram(Generic[Item, Result]):
    """A function that is called only where the program is that of the driver."""

    function: Callable[[Item], Result]
    drivers: Mapping[str, str]

    def __call__(self, item: Item) -> Result:
        """What the function returns. Raises MostwatchedError, with all that differs, where the program is another."""
        here = program()
        different = [
            f"{name} {here.get(name, 'none')} instead of {drivers}"
            for name, drivers in self.drivers.items()
            if here.get(name) != drivers
        ]
        if different:  # safeguard: executor-of-another-program
            raise MostwatchedError(
                f"The executor on {platform.node()} runs another program than the driver: {', '.join(different)}. "
                "Give both the same environment: an image, a shared folder named in PYSPARK_PYTHON, or spark.archives."
            )
        return self.function(item)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
