"""openapi.yaml against the routes, the documents and real answers, each in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from calling import Client
from published import CREATOR_ID, EXAMPLE, FOLLOWER, many, publish, reached
from starlette.routing import Route
from tokens import bearer, claims, sign

from pipelines.api import contract
from pipelines.api.messages import SAFE_DATA

EXAMPLES = Path(__file__).parent / "examples"
DOCUMENT = json.loads(contract.as_json(contract.load()))
RANKING = "/api/v1/live-stream/most-watched-creators"
FUNDED = "/api/v1/live-stream/funded"
STREAMS = "/lls/v1.0/stream"
RANGE = "/api/v1/creators/ranking"
REACH = "/api/v1/creators/reach"
EXPLANATION = "/api/v1/creators/explanation"  # its answers to operators: test_explanation.py
PAGES = ("/", "/creator")
ASSETS = tuple(path for path in DOCUMENT["paths"] if path.startswith("/page/"))
OPERATIONS = {path: methods["get"] for path, methods in DOCUMENT["paths"].items()}


def _example(name: str) -> Any:
    return json.loads((EXAMPLES / name).read_text("utf-8"))


def _validate(instance: Any, schema: Mapping[str, Any]) -> None:
    """Against a schema of the document; `$ref`s are into the document."""
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole | {"allOf": [schema]}).validate(instance)


def test_the_contract_is_openapi_3_1(example_client: Client) -> None:
    response = example_client.get("/openapi.json")
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT
    assert DOCUMENT["openapi"].startswith("3.1.")
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_its_server_is_where_the_settings_say(client_for: Callable[..., Client]) -> None:
    """Without a setting it names none: that is the host that it was read from."""
    assert "servers" not in client_for().get("/openapi.json").json()
    behind_a_prefix = client_for(public_url="https://example.com/stats").get("/openapi.json").json()
    assert behind_a_prefix == DOCUMENT | {"servers": [{"url": "https://example.com/stats"}]}


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from ([node["$ref"]] if "$ref" in node else [])
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    references = set(_references(DOCUMENT))
    for reference in references:
        contract.resolved(DOCUMENT, {"$ref": reference})
    components = {
        f"#/components/{kind}/{name}"
        for kind, named in DOCUMENT["components"].items()
        for name in named
        if kind != "securitySchemes"
    }
    assert components == references


def test_routes_and_paths_are_the_same(example_client: Client) -> None:
    routes = {route.path: route.methods for route in example_client.app.routes if isinstance(route, Route)}
    assert routes.keys() == OPERATIONS.keys()
    for path, methods in routes.items():
        assert methods == {"GET", "HEAD"}
        assert list(DOCUMENT["paths"][path]) == ["get"]
        expected = 403 if path == EXPLANATION else 200
        assert example_client.get(_as_needed(path), headers=bearer(sign(claims()))).status_code == expected


def _as_needed(path: str) -> str:
    """A path with the parameters that it cannot do without."""
    parameters = (contract.resolved(DOCUMENT, one) for one in OPERATIONS[path].get("parameters", []))
    needed = [f"{one['name']}={one['example']}" for one in parameters if one.get("required")]
    return f"{path}?{'&'.join(needed)}" if needed else path


def test_operation_ids_are_unique() -> None:
    assert len({operation["operationId"] for operation in OPERATIONS.values()}) == len(OPERATIONS)


def test_the_documents_examples_are_in_it() -> None:
    def example(path: str, status: str) -> Any:
        return contract.resolved(DOCUMENT, OPERATIONS[path]["responses"][status])["content"]["application/json"][
            "example"
        ]

    for path, name in ((RANKING, "most-watched-creators"), (FUNDED, "funded")):
        for status in ("200", "400", "401", "403", "500"):
            expected = json.dumps(_example(f"{name}.{status}.json"))
            assert json.dumps(example(path, status)) == expected, (name, status)  # the order of keys counts
    listed = OPERATIONS[STREAMS]["responses"]["200"]["content"]["application/json"]["examples"]
    for name, one in listed.items():
        assert json.dumps(one["value"]) == json.dumps(_example(f"list-streams.{name}.json"))
    assert listed.keys() == {"domain", "active", "banned"}


def test_examples_fit_their_schemas() -> None:
    for operation in OPERATIONS.values():
        for response in operation["responses"].values():
            for content in contract.resolved(DOCUMENT, response).get("content", {}).values():
                for example in [content.get("example"), *(e["value"] for e in content.get("examples", {}).values())]:
                    if example is not None:
                        _validate(example, content["schema"])


def test_schemas_are_strict() -> None:
    """A body with a key too many, or one too few, would not pass: the validation below means something."""
    ranking = _example("most-watched-creators.200.json")
    schema = {"$ref": "#/components/schemas/MostWatchedCreators"}
    _validate(ranking, schema)
    creator = ranking["data"][0]
    for broken in (
        creator | {"more": 1},
        {key: value for key, value in creator.items() if key != "name"},
        creator | {"isFollowing": "yes"},
        creator | {"profilePhoto": creator["profilePhoto"] | {"createdAt": "2024-01-15T10:30:00Z"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            _validate(ranking | {"data": [broken]}, schema)


# What every answer has, as the document says at its head.
ALWAYS = {"content-type", "content-length", *(name.decode() for name, _ in SAFE_DATA)}
RATE_LIMITS = {"ratelimit-policy", "ratelimit", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


def _described(path: str, status: str) -> Mapping[str, Any]:
    """What the contract says of an answer; a 304 has the headers of the 200 but for those of its body."""
    responses = OPERATIONS[path]["responses"]
    described = contract.resolved(DOCUMENT, responses[status])
    if status != "304":
        return described
    of_200 = {
        name: header
        for name, header in contract.resolved(DOCUMENT, responses["200"])["headers"].items()
        if not name.startswith("Content-Encoding")
    }
    return {**described, "headers": of_200 | described["headers"]}


def _headers(path: str, status: str) -> dict[str, Mapping[str, Any]]:
    """The documented headers of an answer, by their names in lower case."""
    described = _described(path, status).get("headers", {})
    return {name.lower(): contract.resolved(DOCUMENT, header) for name, header in described.items()}


def _is_documented(path: str, response: httpx.Response) -> None:
    """Its status, its headers and its body are what the contract says."""
    status = str(response.status_code)
    content = _described(path, status).get("content", {})
    if content:
        media_type = response.headers["Content-Type"].partition(";")[0]
        assert media_type in content
        if response.request.method != "HEAD":
            body = response.json() if media_type == "application/json" else response.text
            _validate(body, content[media_type]["schema"])
    else:
        assert response.content == b""
    documented = _headers(path, status)
    for name, header in documented.items():
        if name in response.headers:
            value: Any = response.headers[name]
            _validate(int(value) if header["schema"]["type"] == "integer" else value, header["schema"])
    there = set(response.headers) - ALWAYS - (RATE_LIMITS if path == STREAMS else set())
    needed = {name for name, header in documented.items() if header.get("required")}
    assert there <= documented.keys(), (path, status, there - documented.keys())
    assert needed <= set(response.headers), (path, status, needed - there)
    safe = {name.decode() for name, _ in SAFE_DATA} | {"content-length"}
    assert safe - set(response.headers) <= ({"content-length"} if status == "304" else set())
    if path == STREAMS and status != "500":
        assert set(response.headers) >= RATE_LIMITS


Answers = dict[str, list[httpx.Response]]


class Asked:
    """Collects real answers by path: to GET and the same to HEAD."""

    def __init__(self) -> None:
        self.found: Answers = {path: [] for path in OPERATIONS}

    def __call__(self, client: Client, path: str, query: str = "", **headers: str) -> None:
        for method in ("GET", "HEAD"):
            asked = _as_needed(path)
            address = f"{asked}{'&' if '?' in asked else '?'}{query}" if query else asked
            self.found[path].append(client.request(method, address, headers=headers))


HELD = {"If-None-Match": "*"}
PACKED = {"Accept-Encoding": "gzip"}


@pytest.fixture
def answers(
    home: Path, client: Client, client_for: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    """Real answers of every kind, by path."""
    ask = Asked()
    caller, follower = bearer(sign(claims(CREATOR_ID))), bearer(sign(claims(FOLLOWER)))
    for path in OPERATIONS:
        ask.found[path].append(client.request("POST", path))
    _ask_documented(ask, client, caller, follower)
    _ask_ours(ask, client)
    operator = client_for(jwks=str(home / "jwks.json"), operators=("operator",))
    ask(client, EXPLANATION)
    ask(client, EXPLANATION, **caller)
    ask.found[EXPLANATION].append(operator.get(EXPLANATION, headers=bearer(sign(claims("operator")))))
    ask(operator, EXPLANATION, "snapshot=2026-11-21-0123456789ab", **bearer(sign(claims("operator"))))
    without_keys = client_for(jwks="https://keys.invalid/jwks.json", operators=(CREATOR_ID,))  # not fetched here
    for path in (RANKING, FUNDED, EXPLANATION, "/readyz"):
        ask(without_keys, path, **caller)
    more = {
        "live_streams": EXAMPLE["live_streams"],
        "private/funded_streams": [{"user_id": FOLLOWER, "stream_id": CREATOR_ID}],
        "lls_streams": EXAMPLE["lls_streams"] * 4,
        "creator_reach": [reached("2026-11-20", f"c{number}", number) for number in range(1, 20)],
    }
    publish(home, many(3) | more)
    ask(client, RANKING)
    ask(client, FUNDED, **follower)
    ask(client, STREAMS, **PACKED)
    ask(client, RANGE, **PACKED)
    ask(client, RANGE, "limit=1")
    ask(client, RANGE, "limit=1&format=csv")
    for query in ("limit=1", "limit=1&format=csv"):
        ask(client, RANGE, query, **HELD)
    publish(home, many(3) | more, published_at=datetime(2026, 1, 1, tzinfo=UTC))
    ask(client, "/readyz")
    ask.found[STREAMS] += [client.get(STREAMS) for _ in range(100)][-2:]
    (home / "snapshots").rename(tmp_path_factory.mktemp("away") / "snapshots")
    empty = client_for(jwks=str(home / "jwks.json"), operators=(CREATOR_ID,))
    for path in (RANKING, FUNDED, STREAMS, "/readyz", RANGE, REACH, EXPLANATION, *PAGES):
        ask(empty, path, **caller)
    for path in PAGES:
        ask(empty, path, "lang=tr")
    for route in empty.app.routes:
        assert isinstance(route, Route)
        route.app = _broken
        ask(empty, route.path)
    return ask.found


def _ask_documented(ask: Asked, client: Client, caller: dict[str, str], follower: dict[str, str]) -> None:
    ask(client, RANKING)
    ask(client, RANKING, **PACKED)
    ask(client, RANKING, **follower)
    ask(client, RANKING, "limit=1")
    ask(client, RANKING, "limit=x")
    ask(client, RANKING, **bearer("x.y.z"))
    ask(client, RANKING, **HELD)
    ask(client, FUNDED, **caller)
    ask(client, FUNDED, **follower)
    ask(client, FUNDED)
    ask(client, STREAMS)
    ask(client, STREAMS, "status=banned")
    ask(client, STREAMS, "status=x")
    ask(client, STREAMS, **HELD)


def _ask_ours(ask: Asked, client: Client) -> None:
    for path in (RANGE, REACH, *PAGES):
        ask(client, path)
        ask(client, path, **PACKED)
        ask(client, path, "days=7&from=2026-01-01&first=2026-01-01")
        ask(client, path, **HELD)
    for path in (RANGE, REACH):
        ask(client, path, "snapshot=2026-11-21-0123456789ab")
        ask(client, path, "format=csv&bom=true")
        ask(client, path, "format=csv", **HELD)
    ask(client, RANGE, "from=2026-11-01&to=2026-11-21&trend=true")
    ask(client, RANGE, "limit=1")
    ask.found[REACH].append(client.get(f"{REACH}?creatorId=nobody"))
    ask.found["/creator"].append(client.get("/creator?id=nobody&lang=tr"))
    for path in PAGES:
        ask(client, path, "lang=tr")
        ask(client, path, "lang=tr&days=x")
        ask(client, path, "lang=tr", **HELD)
    for path in ("/healthz", "/readyz", "/metrics"):
        ask(client, path)
    for path in ("/openapi.json", "/docs", *ASSETS):
        ask(client, path)
        ask(client, path, **PACKED)
        ask(client, path, **HELD)


async def _broken(scope: Any, receive: Any, send: Any) -> None:
    raise RuntimeError("nobody expected this")


# What the platform's contract documents and this service never answers by itself, or only with a lake behind it.
NEVER = {RANKING: {"403"}, FUNDED: {"400", "403"}, EXPLANATION: {"200", "404"}}


def test_every_answer_is_documented_and_every_documented_answer_is_seen(answers: Answers) -> None:
    """Each status of each path, with every header that is documented and no other, and a body that fits; both ways.

    HEAD is answered as GET is: the same status and headers, and nothing behind them.
    """
    for path, responses in answers.items():
        headers: dict[str, set[str]] = {}
        for response in responses:
            _is_documented(path, response)
            headers.setdefault(str(response.status_code), set()).update(response.headers)
        assert headers.keys() == OPERATIONS[path]["responses"].keys() - NEVER.get(path, set()), path
        for status, seen in headers.items():
            assert _headers(path, status).keys() <= seen, (path, status)
        for get, head in pairwise(responses):
            if head.request.method == "HEAD":
                assert (head.status_code, set(head.headers), head.content) == (get.status_code, set(get.headers), b"")


def test_parameters_are_documented() -> None:
    def names(path: str) -> list[str]:
        return [contract.resolved(DOCUMENT, one)["name"] for one in OPERATIONS[path].get("parameters", [])]

    assert names(RANKING) == ["limit", "If-None-Match"]
    assert names(FUNDED) == []
    assert names(STREAMS) == ["domain", "app", "status", "If-None-Match"]
    of_range = ["days", "from", "to"]
    form = ["snapshot", "format", "bom", "If-None-Match"]
    assert names(RANGE) == [*of_range, "limit", "offset", "q", "trend", *form]
    assert names(REACH) == ["creatorId", *of_range, *form]
    assert names(EXPLANATION) == ["creatorId", *of_range, "snapshot"]
    assert names("/") == ["days", "first", "last", "q", "page", "sort", "lang", "theme", "If-None-Match"]
    assert names("/creator") == ["id", "days", "first", "last", "lang", "theme", "If-None-Match"]


def test_the_page_needs_no_other_host(example_client: Client) -> None:
    """Nothing in it loads anything, and its policy would not let it."""
    response = example_client.get("/docs")
    page = response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert not re.search(r"<(script|link|img|iframe|object|embed|form|base|meta http)", page)
    assert not re.search(r"""(src|srcset|action|data)\s*=|url\(|@import""", page.partition("<body>")[0])
    assert all(target.startswith("#") or target == "openapi.json" for target in re.findall(r'href="([^"]*)"', page))
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    for path in OPERATIONS:
        assert path in page
    assert "Bu yayında müzik hakkında konuşacağım" in page
