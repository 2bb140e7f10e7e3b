"""Attacks on the system, each with a figure: `make faults`, `make faults-full`; README.md says what is promised."""
