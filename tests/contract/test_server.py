"""`serve` as a process of its own: several workers, JSON lines on stderr, a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from published import EXAMPLE, publish

RANKING = "/api/v1/live-stream/most-watched-creators"

SERVE = """
import sys
from pathlib import Path
from pipelines.api.app import serve
from pipelines.core.settings import Settings

if __name__ == "__main__":
    serve(Settings(home=Path(sys.argv[1])), "127.0.0.1", int(sys.argv[2]), int(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_serve(home: Path, workers: int) -> None:
    snapshot_id = publish(home, EXAMPLE)
    script = home / "serve.py"
    script.write_text(SERVE)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    checkout = Path(__file__).parents[2]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(checkout)}
    command = [sys.executable, str(script), str(home), str(port), str(workers)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                response = httpx.get(f"http://127.0.0.1:{port}{RANKING}", timeout=30)  # given up, it would count
                break
            except httpx.TransportError:
                assert process.poll() is None, "it ended"
                assert time.monotonic() < deadline, "it did not start in time"
                time.sleep(0.05)
        assert response.headers["X-Snapshot-Id"] == snapshot_id
        for _ in range(10):  # each on a connection of its own, which any worker may get
            httpx.get(f"http://127.0.0.1:{port}{RANKING}", timeout=30)
        answered = f'mostwatched_http_requests_total{{route="{RANKING}",status="200"}} '

        def told() -> list[tuple[list[str], int]]:
            """What answers say, whichever worker gives them: how often it was asked, and of how many workers."""
            texts = [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text.splitlines() for _ in range(6)]
            return [
                (
                    [line.removeprefix(answered) for line in lines if line.startswith(answered)],
                    sum(line.startswith("mostwatched_worker_info{") for line in lines),
                )
                for lines in texts
            ]

        deadline = time.monotonic() + 30  # what a worker has counted, the others know a second later
        while (found := told()) != [(["11.0"], workers)] * 6:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in (0, -signal.SIGTERM)
    entries = [json.loads(line) for line in errors.splitlines()]
    assert [entry["snapshot_id"] for entry in entries if entry["event"] == "serving"] == [snapshot_id] * workers
    assert (workers > 1) == any("rate limits are per worker" in entry["event"] for entry in entries)
    assert not any(entry["level"] in ("error", "critical") for entry in entries)
