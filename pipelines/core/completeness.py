"""Which days of a snapshot are all there: a number about days that never landed must not look like one about all.

A day is missing when nothing of it landed, and incomplete when it has under half of the sessions that a day like it
usually has. Days before the first that landed are neither: the data begins after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.core.calendar_days import Window
from pipelines.core.text import counted


@dataclass(frozen=True)
class Completeness:
    """What is known of the days that a snapshot holds."""

    first_day: date | None = None  # the first of them of which sessions landed; None: none
    missing: tuple[date, ...] = ()
    incomplete: tuple[date, ...] = ()

    def within(self, days: Window) -> Completeness:
        """The same of some of the days."""
        return Completeness(
            self.first_day,
            tuple(day for day in self.missing if day in days),
            tuple(day for day in self.incomplete if day in days),
        )

    def did_not_land(self, day: date) -> bool:
        """Whether nothing of a day landed."""
        return self.first_day is None or day < self.first_day or day in self.missing

    def is_complete(self, days: Window) -> bool:
        """Whether all of the days landed, as far as one can tell."""
        found = self.within(days)
        begins = self.first_day is not None and self.first_day <= days.first_day
        return begins and not found.missing and not found.incomplete

    def sentence(self, days: Window) -> str | None:
        """What a reader of a number about these days must know; None if all of them landed."""
        if self.is_complete(days):
            return None
        if self.first_day is None or self.first_day >= days.end_day:
            return f"No sessions of {days} have landed."
        found = self.within(days)
        parts = []
        if self.first_day > days.first_day:
            parts.append(f"the data begins on {self.first_day}")
        if found.missing:
            parts.append(f"{counted(len(found.missing), 'day')} did not land ({_some(found.missing)})")
        if found.incomplete:
            parts.append(f"{counted(len(found.incomplete), 'day')} probably not all there ({_some(found.incomplete)})")
        return f"Of {days}: {'; '.join(parts)}."

    def as_json(self) -> dict[str, Any]:
        """The object in a manifest."""
        return {
            "first_day": self.first_day and self.first_day.isoformat(),
            "missing_days": [day.isoformat() for day in self.missing],
            "incomplete_days": [day.isoformat() for day in self.incomplete],
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Completeness:
        """What as_json() gave."""
        first = said["first_day"]
        return cls(
            first and date.fromisoformat(first),
            tuple(map(date.fromisoformat, said["missing_days"])),
            tuple(map(date.fromisoformat, said["incomplete_days"])),
        )


def _some(days: tuple[date, ...]) -> str:
    shown = ", ".join(map(str, days[:_SHOWN_DAYS]))
    return shown + (f" and {len(days) - _SHOWN_DAYS} more" if days[_SHOWN_DAYS:] else "")


_SHOWN_DAYS = 3
