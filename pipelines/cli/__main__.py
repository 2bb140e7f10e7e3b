"""`python -m pipelines.cli`, and the program that spark-submit is handed."""

from __future__ import annotations

from pipelines.cli import main

if __name__ == "__main__":
    main()
