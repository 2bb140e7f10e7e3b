"""The endpoint for operators alone: the explanation of a creator's number."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from pipelines.api import envelope, messages, query_params
from pipelines.api.answers import Range
from pipelines.api.creators import QueryApi, creator_param, range_as_json
from pipelines.api.endpoints import VARY_ON_TOKEN, Endpoint, Refused
from pipelines.api.explanations import (
    RETRY_AFTER_SECONDS,
    Explainer,
    ExplanationError,
    NoSuchCreator,
    TooManyRequests,
)
from pipelines.api.messages import JSON, NO_STORE, SAFE_DATA, Reply, content_length, error
from pipelines.api.query_service import ReadySnapshot


class CreatorExplanation(Endpoint):
    """GET /api/v1/creators/explanation"""

    def __init__(self, api: QueryApi, operators: Collection[str], explainer: Explainer) -> None:
        super().__init__(api)
        self._curious = api
        self._operators = frozenset(operators)
        self._explainer = explainer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, unless its client leaves first: then the work ends, which others may be waiting for."""
        working = asyncio.create_task(self._reply(scope))
        leaving = asyncio.create_task(messages.client_left(receive))
        try:
            await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                reply = working.result()
            else:
                reply = error(503, self.api.clock.now_ms(), message="The connection was closed before the answer")
        finally:
            working.cancel()
            leaving.cancel()
            await asyncio.gather(working, leaving, return_exceptions=True)
        await reply(scope, receive, send)

    async def _reply(self, scope: Scope) -> Reply:
        try:
            return await self.answer(scope, self.api.clock.now_ms())
        except Refused as refused:
            return refused.reply

    async def answer(self, scope: Scope, now_ms: int) -> Reply:
        """Step by step, for an operator: 401 without a valid token, 403 for anybody else's."""
        subject = await self.api.subject(messages.values_of(scope["headers"], b"authorization"), now_ms)
        if subject not in self._operators:  # safeguard: operators-alone
            raise Refused(error(403, now_ms, VARY_ON_TOKEN))
        try:
            asked = query_params.strict_query(scope["query_string"], "days", "from", "to", "snapshot", "creatorId")
            of = query_params.range_param(asked)
            creator_id = creator_param(asked)
            pinned = query_params.snapshot_param(asked)

            def question(ready: ReadySnapshot) -> tuple[str, Range, str]:
                return ready.snapshot_id, of(ready.insight), ready.zone

            snapshot_id, days, zone = await self._curious.ask(question, scope, now_ms, pinned)
            explanation = await self._explainer.explain(snapshot_id, creator_id, days)
        except query_params.InvalidParameter as problem:
            raise Refused(error(400, now_ms, message=str(problem))) from None
        except NoSuchCreator as problem:
            raise Refused(error(404, now_ms, message=str(problem))) from None
        except TooManyRequests as problem:
            retry_after = (b"retry-after", b"%d" % RETRY_AFTER_SECONDS)
            raise Refused(error(503, now_ms, retry_after, message=str(problem))) from None
        except ExplanationError as problem:
            raise Refused(error(503, now_ms, message=str(problem))) from None
        body = envelope.success(msgspec.json.encode(_as_json(explanation, days, zone)), now_ms)
        headers = [(b"x-snapshot-id", snapshot_id.encode()), NO_STORE, VARY_ON_TOKEN, *SAFE_DATA]
        return Reply(200, [JSON, content_length(len(body)), *headers], body)


def _as_json(explanation: dict[str, Any], days: Range, zone: str) -> dict[str, object]:
    """Return it in this API's form: the window as elsewhere in it, names in camel case."""
    said = {name: value for name, value in explanation.items() if name not in ("first_day", "end_day")}
    renamed: dict[str, object] = _camel(said)
    return {"snapshotId": renamed.pop("snapshotId"), "window": range_as_json(days, zone)} | renamed


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {_camel_name(name): _camel(each) for name, each in value.items()}


def _camel_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.title, others))
