"""A database file in a bucket, read where it lies: the pages that a question needs, by DuckDB's httpfs extension.

Only where that extension is installed already: nothing is downloaded to make it so, and nothing else rests on it. What
is read so was not checked against the manifest; DuckDB checks each block of the file against the sum stored in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.lake.engines.duckdb import Connection

_INSTALLED = "select count(*) from duckdb_extensions() where extension_name = 'httpfs' and installed"


@dataclass(frozen=True)
class Access:
    """Where a bucket is asked, and by whom. Its secrets are in no text that is made of it."""

    scope: str  # s3://BUCKET/PREFIX
    region: str
    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None  # http(s)://HOST[:PORT] of another server than Amazon's

    def without_secrets(self, text: str) -> str:
        """A text that may quote them, without them."""
        for each in (self.secret, self.session_token, self.key_id):
            text = text.replace(each, "...") if each else text
        return text


def is_possible(connection: Connection) -> bool:
    """Whether this DuckDB has httpfs."""
    return connection.execute(_INSTALLED).fetchall() != [(0,)]


def attach(connection: Connection, access: Access, url: str, name: str) -> None:
    """Attach the database at `url`, read-only, as `name`. Raises what DuckDB raises, which may quote secrets."""
    connection.execute("load httpfs")
    connection.execute(f"create temporary secret mostwatched_bucket ({', '.join(_settings(access))})")
    connection.execute(f"attach {_literal(url)} as {name} (read_only)")


def _settings(access: Access) -> list[str]:
    settings = {
        "key_id": access.key_id,
        "secret": access.secret,
        "session_token": access.session_token,
        "region": access.region,
        "scope": access.scope,
    }
    if access.endpoint:
        scheme, _, host = access.endpoint.rstrip("/").partition("://")
        settings |= {"endpoint": host, "url_style": "path", "use_ssl": str(scheme != "http").lower()}
    return ["type s3", *(f"{name} {_literal(value)}" for name, value in settings.items() if value)]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
