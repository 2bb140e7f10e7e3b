"""Make the screenshots in docs/ from the sample: run the night, serve it, look at it in Chromium.

    .venv/bin/python scripts/make_screenshots.py

Needs Chromium on the machine (Debian's package `chromium`). Nothing is left but the pictures.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs"
MOST_BYTES = 150_000  # a picture that everybody clones stays small
SAMPLE_AS_OF = "2013-07-01"
SHOTS = (  # name, address, language, theme, width, height
    ("ranking-light", "/", "en-GB", "light", 1180, 760),
    ("creator-dark", "/creator?id=DEN", "en-GB", "dark", 1180, 1440),
    ("ranking-phone-turkish", "/", "tr-TR", "light", 390, 844),
    ("creator-phone-turkish", "/creator?id=DEN", "tr-TR", "dark", 390, 844),
)


def main() -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        landing = ["--landing", str(ROOT / "data" / "sample"), "--as-of", SAMPLE_AS_OF]
        subprocess.run([*_command(home), "run", "--direct", *landing], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        found = shutil.which("chromium") or shutil.which("google-chrome")
        if found is None:
            sys.exit("No Chromium here: install Debian's package `chromium`.")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        with _serving(home) as address:
            for shot in SHOTS:
                print(_take(browser, address, *shot))
        browser.close()


def _take(
    browser: Browser, address: str, name: str, path: str, locale: str, theme: str, width: int, height: int
) -> str:
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale=locale, color_scheme="dark" if theme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(address + path)
    target = PICTURES / f"{name}.png"
    page.screenshot(path=target)
    context.close()
    size = target.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{target} has {size:,} bytes, more than {MOST_BYTES:,}.")
    return f"{target.relative_to(ROOT)}: {size:,} bytes"


def _command(home: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", "--home", home]


@contextmanager
def _serving(home: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [*_command(home), "serve", "--port", str(port)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"MOSTWATCHED_STALE_HOURS": "1000000"},  # the sample is of 2013
    )
    try:
        give_up_at = time.monotonic() + 60
        while True:
            try:
                httpx.get(f"{address}/readyz").raise_for_status()
                break
            except httpx.HTTPError:
                if time.monotonic() > give_up_at or server.poll() is not None:
                    raise
                time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=20)


if __name__ == "__main__":
    main()
