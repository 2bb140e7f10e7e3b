"""A JWKS endpoint that answers as an attacker, a failing disk or a bad proxy would; it counts what it is asked."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class KeyServer:
    """What a connection is answered with can be changed at any time."""

    def __init__(self) -> None:
        self.asked = 0  # requests for /jwks.json; those of a redirect come on top under `elsewhere`
        self.elsewhere = 0
        self.behaviour: Callable[[socket.socket], None] = lambda connection: None
        self.stopping = threading.Event()
        self.port = 0
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/jwks.json"

    def serve_keys(self, content: bytes) -> None:
        self.behaviour = lambda connection: connection.sendall(body(content))

    def answers(self, content: bytes) -> None:
        self.behaviour = lambda connection: connection.sendall(content)

    def drips(self, first: bytes, each: bytes = b"x", pause: float = 0.1) -> None:
        """Never finishes: a little more, again and again, for as long as it is listened to."""

        def drip(connection: socket.socket) -> None:
            connection.sendall(first)
            while not self.stopping.wait(pause):
                connection.sendall(each)

        self.behaviour = drip

    def is_silent(self) -> None:
        self.behaviour = lambda connection: (self.stopping.wait(60), None)[1]


def body(content: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(content) + content


def self_signed(folder: Path) -> Path:
    """A certificate for 127.0.0.1 and its key, in one file."""
    own = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, own.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(own, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    secret = own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


@contextmanager
def key_server(certificate: Path | None = None) -> Iterator[KeyServer]:
    """A server on a port of its own, over TLS with a certificate; ended when left."""
    server = KeyServer()
    tls = None
    if certificate is not None:
        server.scheme = "https"
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    server.port = listening.getsockname()[1]

    def answer(plain: socket.socket) -> None:
        with plain, suppress(OSError), tls.wrap_socket(plain, server_side=True) if tls else plain as connection:
            connection.settimeout(10)
            request = b""
            while b"\r\n\r\n" not in request:
                if not (more := connection.recv(4096)):
                    return
                request += more
            if request.startswith(b"GET /jwks.json "):
                server.asked += 1
            else:
                server.elsewhere += 1
            server.behaviour(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        server.stopping.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        time.sleep(0.02)
