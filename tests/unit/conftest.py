"""A home and a way to land files in it, for the tests of what lands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.core.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """An empty home."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def land(home: Settings) -> Callable[[str, bytes | str], Path]:
    """Drop a file under the home's landing folder."""

    def drop(name: str, content: bytes | str) -> Path:
        path = home.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return drop
