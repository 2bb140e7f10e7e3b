"""Servers of databases in a folder of their own, for as long as a test asks them: PostgreSQL and MariaDB.

They refuse to run as root, and run as nobody where the tests do. Nothing of a server that is installed is used but its
programs: no cluster, socket, port or settings of the machine.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from other_user import NOBODY

SECONDS_TO_START = 60
ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
_PLACES = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin", "usr/local/pgsql/bin", "opt/homebrew/opt/postgresql*/bin",
           "usr/sbin", "usr/local/sbin", "usr/libexec")  # fmt: skip


def program(*names: str) -> str:
    """The path of the first of some programs that is installed; skips the test where none is."""
    for name in names:
        places = [str(found) for place in _PLACES for found in sorted(Path("/").glob(place), reverse=True)]
        if path := shutil.which(name) or shutil.which(name, path=os.pathsep.join(places)):
            return path
    pytest.skip(f"what it writes is not landed: no {names[0]} is installed here")


@dataclass(frozen=True)
class Postgres:
    """A running server, with a superuser who needs no password."""

    folder: Path  # with its socket
    port: int
    psql: str

    def ask(self, *commands: str, options: Sequence[str] = ()) -> bytes:
        """What psql writes when it is asked to run some commands in one session."""
        asked = [each for command in commands for each in ("-c", command)]
        place = ["-h", self.folder, "-p", str(self.port), "-U", "tests", "-d", "postgres"]
        quietly = ["-X", "-q", "-v", "ON_ERROR_STOP=1"]
        return _output([self.psql, *place, *quietly, *options, *asked])


@dataclass(frozen=True)
class MariaDB:
    """A running server, which anybody who reaches its socket may ask."""

    folder: Path
    client: str

    def ask(self, command: str, *options: str) -> bytes:
        """What the client writes when it is asked to run a command."""
        socket_options = ["--no-defaults", "--socket", self.folder / "socket", "--default-character-set=utf8mb4"]
        return _output([self.client, *socket_options, *options], command.encode())

    def outfile(self, select: str, how: str = "") -> bytes:
        """What SELECT … INTO OUTFILE writes."""
        path = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        path.parent.chmod(0o777)
        self.ask(f"{select} into outfile '{path}' character set utf8mb4 {how}", "tests")
        return path.read_bytes()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server on a socket, and on a port of the loopback interface for drivers that know no sockets."""
    initdb, server, psql = program("initdb"), program("postgres"), program("psql")
    with _folder() as folder, socket.socket() as taken:
        _as_user([initdb, "-D", folder / "data", "-U", "tests", "-A", "trust", "-E", "UTF8", "--no-sync"], folder)
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        settings = {"listen_addresses": "127.0.0.1", "fsync": "off", "wal_level": "logical", "shared_buffers": "16MB"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [server, "-D", folder / "data", "-k", folder, "-p", str(port), *options]
        with _running(command, folder, signal.SIGINT) as process:
            found = Postgres(folder, port, psql)
            _wait_for(lambda: found.ask("select 1"), process)
            yield found


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """A server on a socket alone."""
    install, server = program("mariadb-install-db"), program("mariadbd")
    client = program("mariadb")
    with _folder() as folder:
        quick = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        _as_user([install, "--no-defaults", f"--datadir={folder}/data", *quick], folder)
        place = [f"--datadir={folder}/data", f"--socket={folder}/socket", "--skip-networking", "--skip-grant-tables"]
        with _running([server, "--no-defaults", *place], folder, signal.SIGTERM) as process:
            found = MariaDB(folder, client)
            _wait_for(lambda: found.ask("create database tests"), process)
            yield found


def _output(command: Sequence[str | Path], told: bytes | None = None) -> bytes:
    done = subprocess.run(command, input=told, capture_output=True, timeout=60, env=ENVIRONMENT, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder of the server's user, with a name so short that the path of a socket in it may be one."""
    folder = Path(tempfile.mkdtemp(prefix="db-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _as_user(command: Sequence[str | Path], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, timeout=120, env=ENVIRONMENT, check=False, **_user()
    )
    assert done.returncode == 0, done.stderr.decode()


@contextmanager
def _running(command: Sequence[str | Path], folder: Path, end: signal.Signals) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT, **_user()
        )
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(asked: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            asked()
        except AssertionError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            return
