"""What a snapshot's answers must be: those of a quiet API that has it alone, which say what its Parquet files hold."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from faults.together_analyst import digest_of, of_parquet
from faults.together_platform import CALLERS
from faults.together_reader import FUNDED, RANKING, Request
from pipelines.api.app import create_app
from pipelines.core.settings import Settings
from pipelines.snapshots import manifest

TIMESTAMP_BYTES = len('2026-05-22T16:11:27.028Z"}')
OF_THE_ANSWER = ("content-length", "content-type", "etag", "cache-control", "vary", "x-snapshot-id", "x-window")


class Truth:
    """Copies of all snapshots that were ever published, in a folder."""

    def __init__(self, archive: Path, jwks: Path, tokens: list[str]) -> None:
        self.archive, self.jwks, self.tokens = archive, jwks, tokens
        self.apps: dict[str, Any] = {}
        self.rows: dict[tuple[str, str], list[Any]] = {}

    def problem(self, request: Request, status: int, snapshot_id: str, kept: bytes) -> str | None:
        """What is wrong with an answer (as the reader keeps it), if anything."""
        if not (self.archive / snapshot_id).is_dir():
            return "such a snapshot was never published"
        _, after_date, body = kept.split(b"\0", 2)
        asked = self.quiet(snapshot_id, request, status)
        if asked["status"] != status:
            return f"a quiet API answers {asked['status']}"
        if body != asked["body"]:
            return f"the body {body[:200]!r} is not that of a quiet API, {asked['body'][:200]!r}"
        head = dict(line.split(": ", 1) for line in after_date.decode("latin-1").split("\r\n") if ": " in line)
        for name in OF_THE_ANSWER:
            if head.get(name) != asked["headers"].get(name):
                return f"{name} is {head.get(name)!r}, of a quiet API {asked['headers'].get(name)!r}"
        if "etag" in head and not head["etag"].startswith(f'W/"{snapshot_id}-'):
            return f"the ETag is {head['etag']}"
        return None if status != 200 or not body else self._not_as_stored(request, snapshot_id, body)

    def quiet(self, snapshot_id: str, request: Request, status: int) -> dict[str, Any]:
        """The answer of an API that has never seen another snapshot."""
        app = self._app(snapshot_id)
        first = asyncio.run(_call(app, request, None))
        again = first["headers"].get("etag") if status == 304 else None
        return asyncio.run(_call(app, request, again)) if again else first

    def _app(self, snapshot_id: str) -> Any:
        if snapshot_id not in self.apps:
            home = self.archive.parent / "quiet" / snapshot_id
            (home / "snapshots").mkdir(parents=True)
            shutil.copytree(self.archive / snapshot_id, home / "snapshots" / snapshot_id, copy_function=os.link)
            snapshot = manifest.open_snapshot(home / "snapshots", snapshot_id)
            manifest.point_to(home / "snapshots", snapshot, pinned=False)
            self.apps[snapshot_id] = create_app(Settings(home=home, jwks=str(self.jwks)))
        return self.apps[snapshot_id]

    def _not_as_stored(self, request: Request, snapshot_id: str, body: bytes) -> str | None:
        """What an answer lists, in its order, must be what the snapshot's own Parquet files hold."""
        path, _, query = request.path.partition("?")
        parameters = dict(part.split("=") for part in query.split("&")) if query else {}
        if path == RANKING:
            found = [(one["_id"], one["username"]) for one in json.loads(body + b'"}')["data"]]
            right = self._rows(snapshot_id, RANKED)[: int(parameters.get("limit", 100))]
        elif path == FUNDED:
            caller = CALLERS[self.tokens.index(request.token or "")]
            data = json.loads(body + b'"}')["data"]
            found = [(one["id"], one["title"], one["fundingPercentage"]) for one in data]
            right = [row[1:] for row in self._rows(snapshot_id, FUNDED_BY) if row[0] == caller]
        else:
            found = [(one["id"], one["stream"], one["domain"], one["status"]) for one in json.loads(body)["streams"]]
            wanted = set(parameters.values())
            right = [row for row in self._rows(snapshot_id, LISTED) if wanted <= set(row)]
        return None if found == right else f"{found[:3]} where the files have {right[:3]}"

    def _rows(self, snapshot_id: str, sql: str) -> list[Any]:
        if (snapshot_id, sql) not in self.rows:
            with duckdb.connect(config={"threads": 1}) as connection:
                folder = self.archive / snapshot_id
                self.rows[snapshot_id, sql] = connection.execute(sql.replace("{}", str(folder))).fetchall()
        return self.rows[snapshot_id, sql]

    def answer(self, snapshot_id: str, question: str) -> str:
        """The digest of what the archived files answer; of the macro, what the published ranking says."""
        if question == "macro":
            return digest_of(self._rows(snapshot_id, TOP))
        return digest_of(of_parquet(self.archive / snapshot_id, question))

    def tops(self) -> set[str]:
        """The digests of the rankings of all snapshots."""
        return {digest_of(self._rows(folder.name, TOP)) for folder in self.archive.iterdir()}


TOP = """
    select position, creator_id, viewers from read_parquet('{}/creator_rankings.parquet')
    where window_days = 30 order by position
"""
RANKED = """
    select r.creator_id, c.username
    from read_parquet('{}/creator_rankings.parquet') r
    left join read_parquet('{}/creators.parquet') c using (creator_id)
    where r.window_days = 30 order by r.position
"""
FUNDED_BY = """
    select u.user_id, stream_id, s.title, f.funding_percentage
    from read_parquet('{}/private/funded_streams.parquet') u
    join read_parquet('{}/live_streams.parquet') s using (stream_id)
    join read_parquet('{}/live_stream_funding.parquet') f using (stream_id)
    where s.status = 'scheduled' order by s.planned_start_date, stream_id
"""
LISTED = """
    select stream_id, stream, domain, status from read_parquet('{}/lls_streams.parquet') order by created_at, stream_id
"""


async def _call(app: Any, request: Request, etag: str | None) -> dict[str, Any]:
    """One answer of an application in this process, without what differs from second to second."""
    path, _, query = request.path.partition("?")
    headers = [(b"host", b"api")]
    if request.token:
        headers.append((b"authorization", f"Bearer {request.token}".encode()))
    if etag:
        headers.append((b"if-none-match", etag.encode()))
    scope = {"type": "http", "method": request.method, "path": path, "query_string": query.encode()}
    scope |= {"headers": headers, "client": ("192.0.2.1", 1)}
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    if not path.startswith("/lls/"):
        body = body[: max(0, len(body) - TIMESTAMP_BYTES)]
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return {"status": sent[0]["status"], "headers": answered, "body": body}
