"""A real Chromium, headless, and real servers for it to visit. Skipped where no Chromium is found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from calling import running
from published import publish
from visiting import Visit
from visitors import PLATFORM

from pipelines.api.envelope import Clock
from pipelines.core.settings import Settings

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One Chromium for the tests of a file.

    Not for the session: while Playwright is up, an event loop of its own counts as running in this thread, and no
    other test of this worker could start one.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright for Python here")
    found = next((path for path in map(shutil.which, CHROMIUM) if path), None)
    if found is None:
        pytest.skip("no Chromium here: Debian's package `chromium` will do")
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Visit]]:
    """Opens windows. At the end nothing may have been complained about, and no other host asked."""
    opened: list[tuple[Any, Visit]] = []

    def open_window(address: str, **options: Any) -> Visit:
        context = browser.new_context(**{"locale": "en-GB", "viewport": {"width": 1280, "height": 900}} | options)
        context.set_default_timeout(15_000)
        one = Visit(context.new_page(), address)
        one.page.on("console", lambda said: one.complaints.append(said.text) if said.type != "log" else None)
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("request", lambda asked: one.hosts.add(asked.url.split("/")[2]))
        opened.append((context, one))
        return one

    yield open_window
    for context, one in opened:
        context.close()
        assert one.complaints == []
        assert one.hosts <= {one.address.removeprefix("http://")}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the platform of visitors.py."""
    folder = tmp_path_factory.mktemp("visited")
    publish(folder, PLATFORM)
    return folder


@pytest.fixture(scope="session")
def server(home: Path) -> Iterator[str]:
    """The address of a server of it."""
    morning = Clock(now_ms=lambda: round(datetime(2026, 11, 21, 6, tzinfo=UTC).timestamp() * 1000))
    with running(Settings(home=home), morning) as address:
        yield address
