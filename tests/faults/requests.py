"""What a client may send that it should not, and what the server does about it: a table.

Behind every case the same bytes follow, a request for /readyz. It must be answered as itself, once, or the connection
must be closed: nothing in front of it may swallow it, and nothing hidden in a body may be taken for a request.
"""

from __future__ import annotations

from dataclasses import dataclass

NEXT = b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HIDDEN = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"  # in a body: never to be answered


@dataclass(frozen=True)
class Case:
    """Bytes, the statuses of their answers, and whether the request behind them is answered too."""

    name: str
    sent: bytes
    statuses: tuple[int, ...]
    goes_on: bool


def get(target: bytes = b"/healthz", *headers: bytes, method: bytes = b"GET", version: bytes = b"HTTP/1.1") -> bytes:
    """A request with a Host and further header lines."""
    lines = [b"%b %b %b" % (method, target, version), b"Host: x", *headers]
    return b"\r\n".join((*lines, b"", b""))


def refused(name: str, sent: bytes) -> Case:
    """400 in the envelope, and the end of the connection."""
    return Case(name, sent, (400,), False)


def ends(name: str, sent: bytes, *statuses: int) -> Case:
    """Answered, and the connection is closed: it is not clear what comes next."""
    return Case(name, sent, statuses, False)


def goes_on(name: str, sent: bytes, *statuses: int) -> Case:
    """Answered, and so is the next request."""
    return Case(name, sent, statuses, True)


def chunked(body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    return get(b"/healthz", b"Transfer-Encoding: chunked", *headers, method=method) + body


LENGTH = b"Content-Length: %d" % len(HIDDEN)
HIDDEN_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)

FRAMING = (
    refused("two Content-Lengths, equal", get(b"/healthz", LENGTH, LENGTH) + HIDDEN),
    refused("two Content-Lengths, different", get(b"/healthz", LENGTH, b"Content-Length: 0") + HIDDEN),
    refused("two Content-Lengths in one line", get(b"/healthz", b"Content-Length: 5, 5") + b"hello"),
    refused("Content-Length before Transfer-Encoding", chunked(b"0\r\n\r\n" + HIDDEN, LENGTH)),
    refused(
        "Transfer-Encoding before Content-Length",
        get(b"/healthz", LENGTH, b"Transfer-Encoding: chunked") + b"0\r\n\r\n" + HIDDEN,
    ),
    refused("Content-Length below 0", get(b"/healthz", b"Content-Length: -1")),
    refused("Content-Length with a sign", get(b"/healthz", b"Content-Length: +5") + b"hello"),
    refused("Content-Length in hexadecimal", get(b"/healthz", b"Content-Length: 0x5") + b"hello"),
    refused("Content-Length with an underscore", get(b"/healthz", b"Content-Length: 1_0") + b"hellohello"),
    refused("Content-Length beyond 64 bits", get(b"/healthz", b"Content-Length: 99999999999999999999")),
    refused("empty Content-Length", get(b"/healthz", b"Content-Length: ")),
    goes_on("a body for GET", get(b"/healthz", LENGTH) + HIDDEN, 200),
    goes_on("a body for HEAD's sake: POST", get(b"/healthz", LENGTH, method=b"POST") + HIDDEN, 405),
    goes_on("a chunked body", chunked(HIDDEN_CHUNK), 405),
    goes_on("chunked in capitals", get(b"/healthz", b"TRANSFER-ENCODING: CHUNKED") + HIDDEN_CHUNK, 200),
    goes_on("a chunk extension", chunked(b"5;a=b\r\nhello\r\n0\r\n\r\n"), 405),
    goes_on(
        "trailers that name a user and a host",
        get(b"/api/v1/live-stream/most-watched-creators", b"Transfer-Encoding: chunked")
        + b"0\r\nAuthorization: Bearer x.y.z\r\nHost: y\r\n\r\n",
        200,
    ),
    refused("another transfer coding", get(b"/healthz", b"Transfer-Encoding: xchunked") + HIDDEN_CHUNK),
    refused("identity", get(b"/healthz", b"Transfer-Encoding: identity") + HIDDEN),
    refused("chunked, identity", get(b"/healthz", b"Transfer-Encoding: chunked, identity") + HIDDEN_CHUNK),
    refused("gzip, chunked", get(b"/healthz", b"Transfer-Encoding: gzip, chunked") + HIDDEN_CHUNK),
    refused("Transfer-Encoding twice", chunked(HIDDEN_CHUNK, b"Transfer-Encoding: chunked")),
    refused("Transfer-Encoding with a vertical tab", get(b"/healthz", b"Transfer-Encoding:\x0bchunked") + HIDDEN_CHUNK),
    refused("a space before the colon", get(b"/healthz", b"Transfer-Encoding : chunked") + HIDDEN_CHUNK),
    refused("chunked in HTTP/1.0", get(b"/healthz", b"Transfer-Encoding: chunked", version=b"HTTP/1.0") + HIDDEN_CHUNK),
    # the head was in order, so the request has its own answer; where its body ends is unclear
    ends("a chunk size that is no number", chunked(b"zz\r\n\r\n" + HIDDEN), 405),
    ends("a chunk size with 0x", chunked(b"0x5\r\nhello\r\n0\r\n\r\n"), 405),
    ends("a chunk size below 0", chunked(b"-1\r\nhello\r\n0\r\n\r\n"), 405),
    ends("a chunk size beyond 64 bits", chunked(b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), 405),
    ends("a chunk longer than it says", chunked(b"5\r\nhelloX\r\n0\r\n\r\n"), 405),
    ends("chunks ended by a bare LF", chunked(b"5\nhello\n0\n\n"), 405),
    ends("a chunk extension ended by a bare LF", chunked(b"5;a\nhello\r\n0\r\n\r\n"), 405),
    ends("Expect: 100-continue", get(b"/healthz", b"Expect: 100-continue", LENGTH, method=b"POST"), 405),
    ends("Expect: 100-continue, body sent at once", get(b"/no", b"Expect: 100-continue", LENGTH) + HIDDEN, 404),
    goes_on("Expect: something else", get(b"/healthz", b"Expect: 200-maybe"), 200),
    ends("a body over 1 MiB", get(b"/healthz", b"Content-Length: 1500000", method=b"POST") + b"x" * 1_500_000, 405),
)

LINES = (
    refused("obs-fold", get(b"/healthz", b"X-A: b", b" c")),
    refused("obs-fold of Host", b"GET /healthz HTTP/1.1\r\nHost: x\r\n y\r\n\r\n"),
    refused("obs-fold of Transfer-Encoding", get(b"/healthz", b"Transfer-Encoding:", b" chunked") + HIDDEN_CHUNK),
    refused("a first header that is folded", b"GET /healthz HTTP/1.1\r\n Host: x\r\n\r\n"),
    refused("bare LF everywhere", b"GET /healthz HTTP/1.1\nHost: x\n\n"),
    refused("bare LF after one header", get(b"/healthz", b"X: y\nZ: w")),
    refused("bare LF at the end", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\n"),
    refused("bare CR in a value", get(b"/healthz", b"X: y\rZ: w")),
    refused("bare CR before CRLF", get(b"/healthz", b"X: y\r")),
    refused("NUL in a value", get(b"/healthz", b"X: y\0z")),
    refused("NUL in a name", get(b"/healthz", b"X\0: y")),
    refused("an escape in a value", get(b"/healthz", b"X: \x1b[31m")),
    refused("a space in a name", get(b"/healthz", b"X Y: z")),
    refused("an empty name", get(b"/healthz", b": y")),
    refused("a line without a colon", get(b"/healthz", b"X")),
    goes_on("UTF-8 in a value", get(b"/healthz", "X: ş\u202e\u2028".encode()), 200),
    goes_on("bytes that are no UTF-8 in a value", get(b"/healthz", b"X: \xff\xfe"), 200),
    goes_on("empty lines in front", b"\r\n" * 100 + get(), 200),
    goes_on("10,000 headers", get(b"/healthz", *[b"A:b"] * 10_000), 200),
    refused("100,000 headers", get(b"/healthz", *[b"A:b"] * 100_000)),
    refused("a header of 100 kB", get(b"/healthz", b"X: " + b"y" * 100_000)),
    refused("a header of 1 MB", get(b"/healthz", b"X: " + b"y" * 1_000_000)),
    refused("a name of 100 kB", get(b"/healthz", b"x" * 100_000 + b": y")),
    refused("a request line of 100 kB", get(b"/" + b"x" * 100_000)),
    refused("1 MB of empty lines", b"\r\n" * 500_000 + get()),
    ends("trailers without end", chunked(b"0\r\n" + b"X: y\r\n" * 300_000), 405),
    ends("a chunk extension without end", chunked(b"5;" + b"x" * 1_500_000), 405),
)

HOSTS = (
    refused("no Host", b"GET /healthz HTTP/1.1\r\n\r\n"),
    refused("two Hosts", get(b"/healthz", b"Host: y")),
    refused("two Hosts, the same", get(b"/healthz", b"Host: x")),
    refused("a Host with a space", b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n"),
    refused("a Host with a path", b"GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    refused("a Host with a user", b"GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n"),
    refused("two Hosts in one line", b"GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    refused("a port that is no number", b"GET /healthz HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    goes_on("a Host of IPv6", b"GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
    goes_on("an empty Host", b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", 200),
)

TARGETS = (
    goes_on("absolute-form", get(b"http://y/healthz"), 200),
    refused("absolute-form without a path", get(b"http://y")),
    refused("authority-form for GET", get(b"y:80")),
    refused("CONNECT", get(b"y:80", method=b"CONNECT")),
    ends("CONNECT with a path", get(method=b"CONNECT"), 405),
    goes_on("OPTIONS *", get(b"*", method=b"OPTIONS"), 404),
    goes_on("GET *", get(b"*"), 404),
    goes_on("dot segments", get(b"/docs/../healthz"), 404),
    goes_on("percent-encoded traversal", get(b"/%2e%2e/%2e%2e/etc/passwd"), 404),
    goes_on("traversal encoded twice", get(b"/%252e%252e/healthz"), 404),
    goes_on("traversal with backslashes", get(b"/..%5c..%5chealthz"), 404),
    goes_on("overlong UTF-8", get(b"/%c0%ae%c0%ae/healthz"), 404),
    goes_on("a surrogate in UTF-8", get(b"/%ed%a0%80"), 404),
    goes_on("%00 in the path", get(b"/healthz%00"), 404),
    goes_on("%0a in the path", get(b"/healthz%0a"), 404),
    goes_on("%0d%0a and a header in the path", get(b"/healthz%0d%0aSet-Cookie:%20a=b"), 404),
    goes_on("%00 and %0a in the query", get(b"/lls/v1.0/stream?domain=%00%0a"), 200),
    goes_on("a query that is no UTF-8", get(b"/lls/v1.0/stream?domain=%ff"), 400),
    goes_on("a broken percent sign", get(b"/lls/v1.0/stream?domain=%zz%"), 200),
    goes_on("10,000 parameters", get(b"/lls/v1.0/stream?" + b"a=b&" * 10_000), 200),
    goes_on("two slashes in front", get(b"//healthz"), 404),
    goes_on("another host behind two slashes", get(b"//y/healthz"), 404),
    goes_on("a path parameter", get(b"/healthz;a=b"), 404),
    goes_on("a fragment", get(b"/healthz#x"), 200),
    refused("bytes that are not ASCII in the path", get(b"/\xff\xfe")),
    refused("a space in the path", get(b"/heal thz")),
    refused("a NUL in the path", get(b"/heal\0thz")),
)

VERSIONS = (
    refused("HTTP/0.9", b"GET /healthz\r\n"),
    refused("HTTP/0.9, said", get(version=b"HTTP/0.9")),
    ends("HTTP/1.0", b"GET /healthz HTTP/1.0\r\n\r\n", 200),
    ends("HTTP/1.0 that would go on", get(b"/healthz", b"Connection: keep-alive", version=b"HTTP/1.0"), 200),
    refused("HTTP/1.2", get(version=b"HTTP/1.2")),
    refused("HTTP/2.0 as text", get(version=b"HTTP/2.0")),
    refused("HTTP/9.9", get(version=b"HTTP/9.9")),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"),
    refused("another protocol's name", get(version=b"ICAP/1.0")),
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500),
    refused("a lower-case method", get(method=b"get")),
    refused("an unknown method", get(method=b"FOO")),
    goes_on("a method of others", get(method=b"PURGE"), 405),
    goes_on("TRACE gives nothing back", get(b"/healthz", b"X-Secret: s3cret", method=b"TRACE"), 405),
    refused("tabs between the parts", b"GET\t/healthz\tHTTP/1.1\r\nHost: x\r\n\r\n"),
    refused("no HTTP at all", b"hello\r\n\r\n"),
    refused("zeros", b"\0" * 1000),
    # asked for another protocol, it stays with this one: answered, and closed
    ends("Upgrade: websocket", get(b"/healthz", b"Connection: Upgrade", b"Upgrade: websocket"), 200),
    ends("Upgrade: h2c", get(b"/healthz", b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"), 200),
    goes_on("100 requests at once", get() * 100, *[200] * 100),
    goes_on("HEAD and GET in turn", (get(method=b"POST") + get()) * 50, *[405, 200] * 50),
    ends("Connection: close, and more", get(b"/healthz", b"Connection: close") + HIDDEN, 200),
    ends("a good request, then nonsense", get() + b"nonsense\r\n\r\n", 200, 400),
    ends("ten good requests, then no Host", get() * 10 + b"GET / HTTP/1.1\r\n\r\n", *[200] * 10, 400),
    ends("a bad body, then a good request", chunked(b"zz\r\n\r\n") + get(), 405),
)

CASES = (*FRAMING, *LINES, *HOSTS, *TARGETS, *VERSIONS)
