"""How hard tests look that draw: HYPOTHESIS_PROFILE is `fast` unless it is told to be `long` or `full`.

`make test` looks fast, for whoever waits for it: every run draws others. `make test-long` draws several times as many
of what runs whole nights, and full ones search for hours.
"""

from __future__ import annotations

import os

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
FAST, FULL = PROFILE == "fast", PROFILE == "full"


def effort(fast: int, long: int, full: int) -> int:
    """How many to draw."""
    return {"fast": fast, "long": long, "full": full}[PROFILE]
