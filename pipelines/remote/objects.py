"""Objects under one prefix of a bucket: list, get, put, delete, and the conditional put that a pointer needs.

obstore does it: one wheel without dependencies, the same calls for S3 and what speaks its protocol, conditional puts
(which PyArrow's file systems have none of), multipart uploads, retries. Credentials come from the places where the
platform's tools look for them, the environment, profiles, the role of a pod or a machine, and from nowhere else:
boto3 finds them. None is ever in an address, a message or a file of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import urllib.parse
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.core import durable_files
from pipelines.core.errors import MostwatchedError, PublishConflict, Unreachable, UsageError
from pipelines.remote.uploads import Exists, Uploader

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

    from pipelines.remote.httpfs import Access

SCHEME = "s3://"
_CHUNK_BYTES = 8 << 20
_SMALL_BYTES = 1 << 20  # 16 of these at a time get through a slow line before they time out
_TRIES = 6
_AT_A_TIME = 16
_WHOLE_SECONDS = 7 * 24 * 3600
_MARKER = ".conditional-puts"  # beside the folders of a home
_REGION = "us-east-1"  # where nothing says another
_NO_CREDENTIALS = "There are no credentials for S3 where its tools look for them: environment, profile, role."

Item = TypeVar("Item")


@dataclass(frozen=True)
class Found:
    """An object as it was listed."""

    size: int
    etag: str
    modified: datetime


class Objects:
    """What lies under `s3://bucket/prefix`; names are relative to it."""

    def __init__(self, url: str, endpoint: str | None = None, timeout_seconds: int = 60) -> None:
        """`endpoint` is that of another server than Amazon's. Raises UsageError for a URL that cannot be."""
        parts = urllib.parse.urlsplit(url)
        # not with the URL itself: somebody may have written a password into it
        if parts.scheme != "s3" or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,62}", parts.netloc) or parts.query:
            raise UsageError(
                "A home or a landing folder that is a URL must be s3://BUCKET or s3://BUCKET/PREFIX, the bucket with "
                "2 to 63 of a to z, 0 to 9, dot and hyphen."
            )
        self.url = f"{SCHEME}{parts.netloc}/{parts.path.strip('/')}".rstrip("/")
        self._bucket, self._prefix, self._endpoint = parts.netloc, parts.path.strip("/"), endpoint
        self._timeout_seconds = timeout_seconds
        self._store = _store(self._bucket, self._prefix, endpoint, timeout_seconds)

    @cached_property
    def _uploader(self) -> Uploader:
        return Uploader(_session(), self._bucket, self._endpoint, self._timeout_seconds)

    def listed(self, under: str = "") -> dict[str, Found]:
        """Every object whose name begins with the folder `under`."""
        import obstore

        with self._translate_errors(f"list {under or 'it'}"):
            return {
                each["path"]: Found(each["size"], str(each["e_tag"]), each["last_modified"])
                for page in obstore.list(self._store, under or None)
                for each in page
            }

    def read(self, name: str) -> tuple[bytes, str] | None:
        """(content, etag) of a small object; None if there is none."""
        import obstore

        with self._translate_errors(f"read {name}"):
            try:
                found = obstore.get(self._store, name)
                return bytes(found.bytes()), str(found.meta["e_tag"])
            except FileNotFoundError:
                return None

    def head(self, name: str, size: int) -> bytes:
        """The first `size` bytes of an object, or what there is of it; nothing if it is not there."""
        import obstore

        with self._translate_errors(f"read {name}"):
            try:
                return bytes(obstore.get(self._store, name, options={"range": (0, size)}).bytes())
            except FileNotFoundError:
                return b""

    def changed(self, name: str, since: str) -> bool:
        """Whether an object has another etag than `since`, or is gone."""
        import obstore

        with self._translate_errors(f"look at {name}"):
            try:
                return str(obstore.head(self._store, name)["e_tag"]) != since
            except FileNotFoundError:
                return True

    @contextmanager
    def downloaded(
        self, name: str, final: Path, *, etag: str | None = None, aside: Path | None = None
    ) -> Iterator[tuple[Path, str | None]]:
        """Yield (a temporary file with an object's content, its etag), to be renamed to `final` if it is right.

        There is no file, and no etag, if the object is not there, or no longer that of `etag`. The temporary file lies
        in the folder `aside`, or beside `final`. Every local copy gets its files this way.
        """
        is_private = "/private/" in name or name.startswith("forgotten/")
        final.parent.mkdir(parents=True, exist_ok=True, mode=0o700 if is_private else 0o777)
        temporary = durable_files.temporary_beside(aside / final.name if aside else final)
        try:
            yield temporary, self._download(name, temporary, etag)
        finally:
            temporary.unlink(missing_ok=True)

    def _download(self, name: str, target: Path, etag: str | None) -> str | None:
        import obstore
        from obstore.exceptions import PreconditionError

        with self._translate_errors(f"fetch {name}"):
            try:
                found = obstore.get(self._store, name, options={"if_match": etag} if etag else None)
                size = 0
                with target.open("wb") as file:
                    for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                        size += len(chunk)
                        file.write(chunk)
            except (FileNotFoundError, PreconditionError):
                return None
            if size != found.meta["size"]:
                raise OSError(f"{size} of {found.meta['size']} bytes came")
            return str(found.meta["e_tag"])

    def upload(self, name: str, source: Path, *, is_new: bool = False) -> str | None:
        """Make an object of a file, whole or not at all; returns its etag.

        With `is_new` nothing is overwritten: None if there is an object of that name with other content.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self._translate_errors(f"write {name}"):
            try:
                if source.stat().st_size < _SMALL_BYTES:
                    return self._put(name, source.read_bytes(), "create" if is_new else "overwrite")
                key = f"{self._prefix}/{name}".lstrip("/")
                return self._uploader.upload(key, source, is_new=is_new)
            except (AlreadyExistsError, Exists):
                # Also when our own put arrived, its answer was lost, and it was sent again.
                found = obstore.get(self._store, name)
                theirs = hashlib.sha256()
                for chunk in found.stream(min_chunk_size=_CHUNK_BYTES):
                    theirs.update(chunk)
                with source.open("rb") as file:
                    is_ours = hashlib.file_digest(file, "sha256").hexdigest() == theirs.hexdigest()
                return str(found.meta["e_tag"]) if is_ours else None

    def replace(self, name: str, content: bytes, etag: str | None) -> str:
        """Replace the object with that etag (None: create it), or raise PublishConflict. Returns the new etag.

        Of two that replace the same one, the bucket lets one through.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = "create" if etag is None else {"e_tag": etag}
        with self._translate_errors(f"replace {name}"):
            try:
                return self._put(name, content, mode)
            except (AlreadyExistsError, PreconditionError):
                # Also when our own put arrived, its answer was lost, and it was sent again.
                found = self.read(name)
                if found is not None and found[0] == content:
                    return found[1]
                if etag is not None and found is not None and found[1] == etag:  # safeguard: etag-without-quotes
                    # The condition held: Ceph's gateway 16 compares what stands between quotation marks with all of it.
                    with suppress(PreconditionError):
                        return self._put(name, content, {"e_tag": etag.strip('"')})
        raise PublishConflict(f"{self.url}/{name} was replaced by somebody else meanwhile.")

    def _put(self, name: str, content: bytes, mode: Any) -> str:
        """Put a small object, again when it times out: obstore gives up a put on a condition then.

        What arrived without an answer is met by the next try, which the condition refuses: compare contents then.
        """
        import obstore
        from obstore.exceptions import BaseError

        for attempt in range(_TRIES + 1):
            try:
                return str(obstore.put(self._store, name, content, mode=mode, use_multipart=False)["e_tag"])
            except BaseError as error:
                if attempt == _TRIES or not _is_timeout(error):  # safeguard: timed-out-put-tried-again
                    raise
        raise AssertionError("the last attempt returns or raises")

    def require_conditional_puts(self) -> None:
        """Raise UsageError for a bucket that ignores conditions: of two publishers neither would meet the other.

        A marker in the bucket says that it has been tried; one that was copied there from another store says nothing.
        """
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        found = self.read(_MARKER)
        content = json.dumps({"conditional_puts": True, "endpoint": self._endpoint, "bucket": self._bucket}).encode()
        if found is not None and found[0] == content:
            return
        name = f"{_MARKER}-{secrets.token_hex(8)}"
        is_honoured = []
        with self._translate_errors("write to it on a condition"):
            etag = self._put(name, b"first", "overwrite")
            for mode in ("create", {"e_tag": '"00000000000000000000000000000000"'}):
                try:
                    self._put(name, b"second", mode)
                    is_honoured.append(False)
                except (AlreadyExistsError, PreconditionError):
                    is_honoured.append(True)
            with suppress(PublishConflict):
                etag = self.replace(name, b"third", etag)
                is_honoured.append(True)
        self.delete([name])
        if is_honoured != [True, True, True]:  # safeguard: bucket-that-ignores-conditions
            raise UsageError(
                f"The store of {self.url} ignores conditions of writes (If-None-Match, If-Match), or refuses them "
                "where they hold: two machines that publish at a time would write over each other unnoticed. Nothing "
                "was written. Take a store that "
                "honours them (docs/how-to/move-to-a-bucket.md lists those that were tried), or a newer version."
            )
        with self._translate_errors(f"write {_MARKER}"):
            self._put(_MARKER, content, "overwrite")

    def delete(self, names: list[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        import obstore

        with self._translate_errors("remove objects"):
            for start in range(0, len(names), 1000):
                obstore.delete(self._store, names[start : start + 1000])

    @contextmanager
    def _translate_errors(self, what: str) -> Iterator[None]:
        """Turn errors of the network and the bucket into a sentence without secrets in addresses."""
        from botocore.exceptions import BotoCoreError, ClientError
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except (BaseError, BotoCoreError, ClientError, OSError) as error:
            if isinstance(error, MostwatchedError):
                raise
            is_refused = isinstance(error, PermissionDeniedError | UnauthenticatedError) or (
                isinstance(error, ClientError) and error.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403)
            )
            reason = _reason(error)
            if _is_timeout(error):
                reason = (
                    f"it timed out after {self._timeout_seconds} seconds (MOSTWATCHED_S3_TIMEOUT_SECONDS). {reason}"
                )
            raise Unreachable(
                f"{self.url} did not let us {what}: {reason}. What was published stays as it is; "
                "see to the network, the credentials and the rights there, then give the command again.",
                may_pass=not is_refused,
            ) from None


def _is_timeout(error: BaseException) -> bool:
    """Whether a library says that nothing came, or went, for as long as we wait."""
    causes = f"{type(error).__name__} {error}".lower()
    return "timeout" in causes or "timed out" in causes


def _reason(error: BaseException) -> str:
    """The first line of what a library says, without addresses: signed ones would hold secrets."""
    text = re.sub(r"https?://\S+", "the server", " ".join(str(error).split("\n")[0].split()))
    return text[:300].rstrip(". ")


def _store(bucket: str, prefix: str, endpoint: str | None, timeout_seconds: int) -> S3Store:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
        from obstore.store import S3Store
    except ImportError as error:
        raise UsageError("A home on object storage needs two more packages: pip install 'mostwatched[s3]'.") from error
    session = _session()
    config: S3Config = {"checksum_algorithm": "SHA256", "region": session.region_name or _REGION}
    if endpoint:
        config["endpoint"] = endpoint
    try:
        provider: Callable[[], Any] = Boto3CredentialProvider(session)
    except ValueError as error:
        raise UsageError(_NO_CREDENTIALS) from error
    return S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            # On standing still: a large file may take as long as it takes. Writes of ours through here are small.
            "read_timeout": f"{timeout_seconds}s",
            "connect_timeout": f"{timeout_seconds}s",
            "timeout": f"{_WHOLE_SECONDS}s",  # obstore's own would be 30 seconds
        },
        retry_config={
            "max_retries": _TRIES,
            "retry_timeout": timedelta(seconds=3 * timeout_seconds),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
        },
        credential_provider=provider,
    )


def _session() -> Any:
    import boto3

    return boto3.Session()


def access(url: str, endpoint: str | None) -> Access:
    """Return what another reader needs to access `url`. Raises UsageError where there are no credentials."""
    from pipelines.remote.httpfs import Access

    session = _session()
    found = session.get_credentials()
    if found is None:
        raise UsageError(_NO_CREDENTIALS)
    frozen = found.get_frozen_credentials()
    region = session.region_name or _REGION
    return Access(url.rstrip("/"), region, frozen.access_key, frozen.secret_key, frozen.token, endpoint)


def map_concurrently(function: Callable[[Item], None], items: Collection[Item]) -> None:
    """Call a function for all items, several at a time. Raises what one raises."""
    with ThreadPoolExecutor(_AT_A_TIME, "bucket") as pool:
        for _ in pool.map(function, items):
            pass
