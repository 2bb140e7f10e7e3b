"""One request over HTTP or HTTPS, by httpx.

It goes where it was sent: to no proxy and with no password of the environment, which core/settings.py alone reads, and
over TLS to whom the system's certificates vouch for. It ends in time, however slowly the answer comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from typing import TYPE_CHECKING

from pipelines import __version__

if TYPE_CHECKING:
    import httpx

MAX_HEADERS = 100


def request(
    method: str,
    url: str,
    *,
    seconds: float,
    max_bytes: int = 0,
    body: bytes | None = None,
    content_type: str = "application/json",
    redirects: int = 0,
) -> tuple[int, bytes]:
    """Send a request, with a body if any. Returns (status, content), the content if it is a success and wanted.

    So many redirects are followed, within one scheme: over http anybody could answer. Raises OSError, which names no
    address, also for an answer that is larger than `max_bytes`. Not to be called where an event loop runs.
    """
    import httpx

    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they would log URLs: a secret may stand in the path
    headers = {"User-Agent": f"mostwatched/{__version__}", "Accept-Encoding": "identity"}
    if body is not None:
        headers["Content-Type"] = content_type
    try:
        sent = httpx.Request(method, url, content=body, headers=headers)
        return asyncio.run(_exchange(sent, seconds, max_bytes, redirects))
    except TimeoutError:
        raise TimeoutError(f"no answer after {seconds:g} seconds") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise OSError(_reason(error)) from error


async def _exchange(sent: httpx.Request, seconds: float, max_bytes: int, redirects: int) -> tuple[int, bytes]:
    import httpx

    # The timeouts of httpx are for one wait each: a server that sends a byte now and then would never meet them.
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(trust_env=False, verify=ssl.create_default_context(), timeout=None) as client,
    ):
        for left in range(redirects, -1, -1):
            response = await client.send(sent, stream=True)
            if response.http_version not in ("HTTP/1.0", "HTTP/1.1"):  # httpx reads any
                raise OSError("an unknown version of HTTP")
            if len(response.headers.raw) > MAX_HEADERS:
                raise OSError(f"more than {MAX_HEADERS} headers")
            following = response.next_request
            if following is None or not left:
                break
            if following.url.scheme != sent.url.scheme:  # safeguard: redirect-within-the-scheme
                raise OSError("a redirect to another scheme")
            sent = following
        content = b""
        if max_bytes and response.is_success:
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > max_bytes:
                    raise OSError(f"it is larger than {max_bytes} bytes")
        return response.status_code, content


def _reason(error: BaseException) -> str:
    """What the system says of a failure: a library's message may name the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (socket.gaierror, ssl.SSLError)):
            return cause.strerror or type(cause).__name__
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
        cause = cause.exceptions[-1] if isinstance(cause, BaseExceptionGroup) else cause.__cause__ or cause.__context__
    return type(error).__name__
