"""Sockets to listen on besides an address: a Unix socket, and one that systemd (or another parent) has opened."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from pipelines.core.errors import MostwatchedError, UsageError

MODE = 0o660  # of a Unix socket: for its user and group, such as the proxy's


def unix_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket; one that a dead server has left is replaced.

    Raises UsageError where none can be, MostwatchedError where somebody listens already.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists() and stat.S_ISSOCK(path.lstat().st_mode):
            try:
                listening.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()  # safeguard: dead-socket-alone-replaced
            else:
                raise MostwatchedError(f"Somebody listens on {path}. End what does, or choose another --uds.")
            listening.close()
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o777 & ~MODE)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
    except OSError as error:
        listening.close()
        raise UsageError(f"{path} cannot be listened on ({error.strerror or error}). Name another path.") from None
    return listening


def inherited_socket(descriptor: int) -> socket.socket:
    """The socket of a file descriptor that a parent has opened. Raises UsageError when it is none to listen on."""
    try:
        inherited = socket.socket(fileno=descriptor)
        is_listening = inherited.type == socket.SOCK_STREAM and inherited.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        )
    except OSError as error:
        raise UsageError(f"--fd {descriptor} is no socket ({error.strerror}). systemd's first one is 3.") from None
    if not is_listening:
        raise UsageError(f"--fd {descriptor} is a socket that does not listen.")
    return inherited
