"""The store that several workers share: a real Redis where there is one, an embedded one otherwise.

The embedded one is fakeredis, which runs the product's own Lua script in a real Lua and speaks Redis's protocol over
TCP, in a process of its own. Its clock can be the attack's. `python -m faults.store JSON` is one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.server import Process, SharedClock, started

BINARIES = ("redis-server", "valkey-server")


def real_binary() -> str | None:
    """The server of Redis (or Valkey) of this machine."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


def kind() -> str:
    """Which store `shared_store` gives."""
    return f"a real {Path(binary).name}" if (binary := real_binary()) else "the embedded fakeredis"


@contextmanager
def shared_store(folder: Path) -> Iterator[str]:
    """The URL of an empty store that runs by the machine's clock."""
    binary = real_binary()
    if binary is None:
        with embedded_store(folder) as (url, _):
            yield url
        return
    socket = folder / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert time.monotonic() < deadline, f"{binary} did not start"
            time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(timeout=10)


@contextmanager
def embedded_store(folder: Path, clock: SharedClock | None = None, port: int = 0) -> Iterator[tuple[str, Process]]:
    """The URL and the process of an empty embedded store, by the machine's clock or the attack's."""
    asked = {"clock": str(clock.path) if clock else None, "port": port}
    with started("faults.store", json.dumps(asked), folder / "store.log") as process:
        yield f"redis://127.0.0.1:{process.port}/0", process


def main() -> None:
    """Be an embedded store."""
    from fakeredis import TcpFakeServer
    from redis.exceptions import RedisError

    asked = json.loads(sys.argv[1])
    if asked["clock"]:
        clock = SharedClock(Path(asked["clock"]))
        time.time = lambda: clock.us / 1_000_000  # what TIME, and the expiry of keys, go by
    server = TcpFakeServer(("127.0.0.1", asked["port"]))

    def handle(self: Any) -> None:
        """Answer until the client leaves. (fakeredis's own loop hangs up after an error reply; Redis does not.)"""
        self.connection.setblocking(True)
        while data := self.rfile.readline():
            self.current_client.get_socket().sendall(data)
            while self.current_client.can_read():
                try:
                    reply = self.current_client.read_response()
                except RedisError as error:
                    reply = error
                self.writer.dump(reply)

    server.RequestHandlerClass = type("Handler", (server.RequestHandlerClass,), {"handle": handle})
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
