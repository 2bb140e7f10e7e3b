"""Attacks on the system, each with a figure: `make faults`, `make faults-full`; docs/evidence.md has the promises."""
