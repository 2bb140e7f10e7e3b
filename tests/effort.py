"""How hard tests look that draw: HYPOTHESIS_PROFILE is `fast` unless it is told to be `long` or `full`.

`make test` looks fast, for whoever waits for it, and draws the same in every run: what it says is said of the change,
not of the draw. `make test-long` draws others each time, and several times as many of what runs whole nights; full ones
search for hours.
"""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
FAST, FULL = PROFILE == "fast", PROFILE == "full"


def effort(fast: int, long: int, full: int) -> int:
    """How many to draw."""
    return {"fast": fast, "long": long, "full": full}[PROFILE]
