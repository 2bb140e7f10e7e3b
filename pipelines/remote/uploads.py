"""Uploads of files to a bucket by boto3: in parts, on a condition, and with no limit but on standing still.

obstore's timeout is one of the whole request, so a file on a slow line needs a long one, and its put on a condition
cannot be in parts. Sockets of boto3 time out only when nothing moves. It takes some milliseconds of CPU a request, so
that small objects stay with obstore.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

PARTS_FROM_BYTES = 64 << 20
PART_BYTES = 16 << 20  # of at most 10,000 parts: files of up to 150 GB, which a warehouse is far from
TRIES = 6

# What says that an object of that name is there, or that an upload was completed when its answer was lost.
_EXISTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchUpload", "412", "409"})


class Exists(Exception):
    """There is an object of that name already; it may be our own, whose answer was lost."""


class Uploader:
    """Writes files of any size to one bucket."""

    def __init__(self, session: Any, bucket: str, endpoint: str | None, timeout_seconds: int) -> None:
        from botocore.config import Config

        self._bucket = bucket
        self._client = session.client(
            "s3",
            endpoint_url=endpoint,
            region_name=session.region_name or "us-east-1",
            config=Config(
                connect_timeout=timeout_seconds,  # it is also that of sending
                read_timeout=timeout_seconds,
                max_pool_connections=32,
                retries={"max_attempts": TRIES, "mode": "standard"},
                # Of the body, in what is signed: every store checks that, and not every one knows newer checksums.
                s3={"payload_signing_enabled": True, "addressing_style": "path" if endpoint else "auto"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def upload(self, key: str, source: Path, *, is_new: bool) -> str:
        """Make an object of a file, whole or not at all; returns its etag.

        With `is_new` nothing is overwritten: raises Exists. Raises what botocore raises.
        """
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if is_new else {}
        try:
            if source.stat().st_size < PARTS_FROM_BYTES:
                with source.open("rb") as body:
                    put = self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **condition)
            else:
                put = self._upload_in_parts(key, source, condition)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _EXISTS:
                raise Exists from error
            raise
        return str(put["ETag"])

    def _upload_in_parts(self, key: str, source: Path, condition: dict[str, str]) -> Any:
        """One part after the other: several at a time would share a slow line, and stand still in turn."""
        where = {"Bucket": self._bucket, "Key": key}
        where["UploadId"] = self._client.create_multipart_upload(**where)["UploadId"]
        try:
            parts = []
            with source.open("rb") as file:
                for number in range(1, 2 + (os.fstat(file.fileno()).st_size - 1) // PART_BYTES):
                    etag = self._client.upload_part(**where, PartNumber=number, Body=file.read(PART_BYTES))["ETag"]
                    parts.append({"PartNumber": number, "ETag": etag})
            return self._client.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **condition)
        except BaseException:
            self._abort(where)
            raise

    def _abort(self, where: dict[str, str]) -> None:
        """Have the parts removed. Of a machine that died the bucket's own rule for unfinished uploads removes them."""
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            self._client.abort_multipart_upload(**where)
