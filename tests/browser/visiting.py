"""What a test does with a window of the browser."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Visit:
    """One person's window, and everything that went wrong in it."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def go(self, path: str = "/") -> Any:
        """Open a page of the server."""
        return self.page.goto(self.address + path)

    def text(self, selector: str) -> str:
        """What a person reads there, spaces made one."""
        return " ".join(self.page.inner_text(selector).split())

    def texts(self, selector: str) -> list[str]:
        """The same of every such element."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def until(self, is_so: Callable[[], bool], seconds: float = 15) -> None:
        """Wait for something to be so. (The browser's own waiting would need `eval`, which the page forbids.)"""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "it did not happen in time"
            self.page.wait_for_timeout(20)
