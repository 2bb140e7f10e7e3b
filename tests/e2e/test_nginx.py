"""The configuration in docs/how-to/deploy-behind-nginx.md, in a real nginx before a real server."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/how-to/deploy-behind-nginx.md"
RANKING = "/api/v1/live-stream/most-watched-creators"

pytestmark = pytest.mark.xdist_group("sample")


@pytest.fixture
def nginx() -> str:
    """The program."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.skip("the configuration for nginx is not tried: no nginx is installed here")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return paths


def configuration(folder: Path, port: int, server: int) -> Path:
    """The page's block, with ports and certificate of the test, in the smallest nginx.conf that includes it."""
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    pem, key = certificate(folder)
    for shown, ours in (
        ("127.0.0.1:8000", f"127.0.0.1:{server}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/ssl/certs/creators.example.com.pem", str(pem)),
        ("/etc/ssl/private/creators.example.com.key", str(key)),
    ):
        assert block.count(shown) == 1, shown
        block = block.replace(shown, ours)
    (folder / "mostwatched.conf").write_text(block)
    temporary = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;\n" if os.geteuid() == 0 else ""  # of workers that can read the folder of the test
    path = folder / "nginx.conf"
    path.write_text(
        f"{user}daemon off;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\nevents {{}}\nhttp {{\n"
        f"    access_log off;\n{temporary}    include {folder}/mostwatched.conf;\n}}\n"
    )
    return path


@contextmanager
def running(command: list[str], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def test_nginx_takes_the_configuration(nginx, tmp_path):
    """`nginx -t` finds nothing wrong with it."""
    path = configuration(tmp_path, free_port(), free_port())
    done = subprocess.run([nginx, "-t", "-c", str(path)], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_the_api_behind_nginx(nginx, sample, tmp_path):
    """TLS, a ranking, an ETag, and limits by the client's address, not by what the client says that it is."""
    port, server = free_port(), free_port()
    path = configuration(tmp_path, port, server)
    environ = os.environ | {"MOSTWATCHED_TRUSTED_PROXIES": "127.0.0.1", "PYTHONPATH": str(ROOT)}
    home = str(sample.parents[1])
    command = [sys.executable, "-m", "pipelines.cli", "--home", home, "serve", "--port", str(server)]
    trusted = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    with (
        running(command, env=environ),
        running([nginx, "-c", str(path)]) as proxy,
        httpx.Client(base_url=f"https://localhost:{port}", verify=trusted) as client,
    ):
        ready(client, proxy)
        first = client.get(f"{RANKING}?limit=3")
        assert first.status_code == 200
        assert len(first.json()["data"]) == 3
        assert "max-age" in first.headers["Strict-Transport-Security"]
        again = client.get(f"{RANKING}?limit=3", headers={"If-None-Match": first.headers["ETag"]})
        assert again.status_code == 304
        assert client.get("/metrics").status_code == 200  # from this machine
        forged = [client.get("/lls/v1.0/stream", headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(101)]
        assert [answer.status_code for answer in forged] == [200] * 100 + [429]


def ready(client: httpx.Client, proxy: subprocess.Popen[bytes]) -> None:
    """Wait until the API answers through the proxy; /readyz is 503 where the published sample is old."""
    give_up_at = time.monotonic() + 60
    while True:
        assert proxy.poll() is None, "nginx ended"
        try:
            if client.get("/healthz").status_code == 200 and client.get(RANKING).status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < give_up_at, "no answer within a minute"
        time.sleep(0.2)
