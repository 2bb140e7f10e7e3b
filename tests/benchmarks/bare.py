"""The least a Starlette application on uvicorn can do: `python -m tests.benchmarks.bare PORT SIZE...`.

One route for every size, /0, /1, ..., each answering that many constant bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def main(port: int, sizes: list[int]) -> None:
    """Serve until told to end."""
    app = Starlette(routes=[Route(f"/{place}", _constant(b"x" * size)) for place, size in enumerate(sizes)])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
    )


def _constant(body: bytes) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return Response(body, media_type="application/json")

    return answer


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(size) for size in sys.argv[2:]])
