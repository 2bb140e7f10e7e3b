"""Compressed bodies: the same bytes once unpacked, an ETag each, and 304 for each."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import zstandard
from calling import Client, StoppedClock, running
from hypothesis import given
from hypothesis import strategies as st
from published import CREATOR_ID, FOLLOWER, LLS_ACTIVE, many, publish, reached
from tokens import bearer, claims, sign

from pipelines.api import compression, endpoints
from pipelines.core.settings import Settings

RANKING = "/api/v1/live-stream/most-watched-creators"
PATHS = (
    RANKING,
    f"{RANKING}?limit=7",
    "/lls/v1.0/stream",
    "/lls/v1.0/stream?status=active",
    "/api/v1/creators/ranking",
    "/api/v1/creators/ranking?format=csv",
    f"/api/v1/creators/reach?creatorId={CREATOR_ID}",
    "/",
    "/docs",
    "/openapi.json",
    "/page/page.css",
)
WHOLE = {"Accept-Encoding": "identity"}


@pytest.fixture
def large(home: Path, jwks_file: Path, client_for: Callable[..., Client]) -> Client:
    """A client of a platform whose answers are worth compressing."""
    streams = [LLS_ACTIVE | {"stream_id": f"s{at}"} for at in range(300)]
    reach = [reached("2026-11-20", CREATOR_ID, 3), *(reached("2026-11-20", f"c{at}", 2) for at in range(40))]
    publish(home, many(40) | {"lls_streams": streams, "creator_reach": reach})
    return client_for(jwks=str(jwks_file))


def unpacked(encoding: str, body: bytes) -> bytes:
    """Strictly: one stream, whole, with nothing behind it."""
    if encoding == "gzip":
        reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = reader.decompress(body)
        assert reader.eof
        assert not reader.unused_data
        assert gzip.decompress(body) == content
        return content
    frame = zstandard.ZstdDecompressor().decompressobj()
    content = frame.decompress(body)
    assert frame.eof
    assert not frame.unused_data
    return content


def raw(client: Client, path: str, **headers: str) -> tuple[httpx.Response, bytes]:
    """An answer, and its body as it was sent."""

    async def call() -> tuple[httpx.Response, bytes]:
        transport = httpx.ASGITransport(client.app, client=("192.0.2.9", 1))
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://api.test") as http,
            http.stream("GET", path, headers=headers) as answer,
        ):
            return answer, b"".join([part async for part in answer.aiter_raw()])

    return asyncio.run(call())


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("path", PATHS)
def test_a_compressed_body_is_the_same_body(large: Client, path: str, encoding: str) -> None:
    plain, whole = raw(large, path, **WHOLE)
    assert plain.status_code == 200
    assert "Content-Encoding" not in plain.headers
    for _ in range(2):  # made, and kept
        answer, body = raw(large, path, **{"Accept-Encoding": encoding})
        assert answer.headers["Content-Encoding"] == encoding
        assert int(answer.headers["Content-Length"]) == len(body) < len(whole)
        assert unpacked(encoding, body) == whole
        assert "Accept-Encoding" in plain.headers["Vary"]
        assert answer.headers["Vary"] == plain.headers["Vary"]
        head = large.request("HEAD", path, headers={"Accept-Encoding": encoding})
        assert (head.headers["Content-Length"], head.headers["ETag"]) == (str(len(body)), answer.headers["ETag"])


@pytest.mark.parametrize("path", PATHS)
def test_every_representation_has_an_etag_and_its_304(large: Client, path: str) -> None:
    tags = {}
    for encoding in ("identity", "gzip", "zstd"):
        asked = {"Accept-Encoding": encoding}
        tags[encoding] = large.get(path, headers=asked).headers["ETag"]
        again = large.get(path, headers=asked | {"If-None-Match": tags[encoding]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tags[encoding])
        assert "Content-Encoding" not in again.headers
        assert "Accept-Encoding" in again.headers["Vary"]
        other = large.get(path, headers=asked | {"If-None-Match": '"another"'})
        assert other.status_code == 200
    assert len(set(tags.values())) == 3


def test_the_timestamp_is_that_of_the_answer(large: Client, clock: StoppedClock) -> None:
    """Also in a body that was compressed before."""
    for path in (RANKING, "/api/v1/creators/ranking"):
        for encoding in ("gzip", "zstd"):
            first = large.get(path, headers={"Accept-Encoding": encoding}).json()["timestamp"]
            clock.advance(61.5)
            assert large.get(path, headers={"Accept-Encoding": encoding}).json()["timestamp"] > first


def test_what_depends_on_the_caller_is_not_compressed(large: Client) -> None:
    """An attacker who can make a caller ask must learn nothing from the length of the answer."""
    token = bearer(sign(claims(sub=FOLLOWER)))
    for path in (RANKING, "/api/v1/live-stream/funded"):
        answer = large.get(path, headers=token | {"Accept-Encoding": "gzip, zstd"})
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers


def test_a_page_is_compressed_once(large: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask for it; and not for every limit that somebody thinks of."""
    made: list[bytes] = []
    opened = compression.opened
    monkeypatch.setattr(
        compression, "opened", lambda encoding, *parts: made.append(encoding) or opened(encoding, *parts)
    )
    for _ in range(5):
        large.get(RANKING, headers={"Accept-Encoding": "gzip"})
    assert made == [b"gzip"]
    for limit in range(1, 40):
        assert len(large.get(f"{RANKING}?limit={limit}", headers={"Accept-Encoding": "gzip"}).json()["data"]) == limit
    assert len(made) == 1 + endpoints.PAGES_KEPT - 1, "the default is one of them"


def test_over_the_wire(home: Path) -> None:
    publish(home, many(40))
    with running(Settings(home=home)) as address, httpx.Client(base_url=address) as client:
        for encoding in ("gzip", "zstd", "identity"):
            for _ in range(2):
                answer = client.get(RANKING, headers={"Accept-Encoding": encoding})
                assert len(answer.json()["data"]) == 40
                assert answer.headers.get("Content-Encoding", "identity") == encoding


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"", None),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip, deflate, br", b"gzip"),
        (b"br", None),
        (b"*", b"zstd"),
        (b"gzip;q=1.0, zstd;q=0.5", b"gzip"),
        (b"zstd;q=0, *", b"gzip"),
        (b"gzip;q=0", None),
        (b"*;q=0, gzip;q=0.001", b"gzip"),
        (b"gzip;q=0, zstd; q=0.000", None),
        (b"identity", None),
        (b"gzip ;q=0.8 ,zstd ; q=0.9", b"zstd"),
        (b"gzip;q=nonsense", None),
        (b"gzip;q=2", None),
        (b"\xff\xfe, gzip", b"gzip"),
    ],
)
def test_which_encoding_a_client_takes(sent: bytes, expected: bytes | None) -> None:
    assert compression.preferred(sent) == expected


@given(st.sampled_from([b"gzip", b"zstd"]), st.lists(st.binary(max_size=3000), max_size=3), st.binary(max_size=60))
def test_an_open_body_is_closed_by_any_end(encoding: bytes, parts: list[bytes], end: bytes) -> None:
    """What is unpacked is every part and the end, also of nothing at all."""
    body = compression.opened(encoding, *parts)
    closed = body.closed(end)
    assert unpacked(encoding.decode(), closed) == b"".join((*parts, end))
    assert len(closed) == body.length(len(end))
