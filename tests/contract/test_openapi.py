"""openapi.yaml against the routes, the documents and real answers, each in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from calling import Client
from published import CREATOR_ID, EXAMPLE, FOLLOWER, many, publish
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


def _is_documented(path: str, response: httpx.Response) -> None:
    """Its status, its headers and its body are what the contract says."""
    described = contract.resolved(DOCUMENT, OPERATIONS[path]["responses"][str(response.status_code)])
    content = described.get("content", {})
    if content:
        media_type = response.headers["Content-Type"].partition(";")[0]
        assert media_type in content
        body = response.json() if media_type == "application/json" else response.text
        _validate(body, content[media_type]["schema"])
    else:
        assert response.content == b""
    always = {
        "content-type",
        "content-length",
        "content-encoding",
        "cache-control",
        *(name.decode() for name, _ in SAFE_DATA),
    }
    documented = {
        name.lower(): contract.resolved(DOCUMENT, header) for name, header in described.get("headers", {}).items()
    }
    for name, header in documented.items():
        if name in response.headers:
            value: Any = response.headers[name]
            _validate(int(value) if header["schema"]["type"] == "integer" else value, header["schema"])
    if path in (RANGE, REACH):
        always |= {"content-disposition"}  # of CSV alone
    if response.status_code == 200 and path in (RANKING, FUNDED, STREAMS, RANGE, REACH):
        assert set(response.headers) - always == documented.keys() - always


@pytest.fixture
def answers(
    home: Path, client: Client, client_for: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[httpx.Response]]:
    """Real answers of every kind, by path."""
    caller, follower = bearer(sign(claims(CREATOR_ID))), bearer(sign(claims(FOLLOWER)))
    found: dict[str, list[httpx.Response]] = {path: [client.request("POST", path)] for path in OPERATIONS}
    found[RANKING] += [
        client.get(RANKING),
        client.get(RANKING, headers=follower),
        client.get(f"{RANKING}?limit=1"),
        client.get(f"{RANKING}?limit=x"),
        client.get(RANKING, headers=bearer("x.y.z")),
        client.get(RANKING, headers={"If-None-Match": "*"}),
    ]
    found[FUNDED] += [client.get(FUNDED, headers=caller), client.get(FUNDED, headers=follower), client.get(FUNDED)]
    found[STREAMS] += [
        client.get(STREAMS),
        client.get(f"{STREAMS}?status=banned"),
        client.get(f"{STREAMS}?status=x"),
        client.get(STREAMS, headers={"If-None-Match": "*"}),
        *[client.get(STREAMS) for _ in range(97)][-2:],
    ]
    for path in (RANGE, REACH, *PAGES):
        asked = _as_needed(path)
        more = "&" if "?" in asked else "?"
        found[path] += [
            client.get(asked),
            client.get(f"{asked}{more}days=7&from=2026-01-01&first=2026-01-01"),
            client.get(asked, headers={"If-None-Match": "*"}),
        ]
    found[RANGE] += [client.get(f"{RANGE}?from=2026-11-01&to=2026-11-21&trend=true"), client.get(f"{RANGE}?format=csv")]
    found[REACH] += [client.get(f"{REACH}?creatorId={CREATOR_ID}&format=csv"), client.get(f"{REACH}?creatorId=nobody")]
    found["/creator"].append(client.get("/creator?id=nobody"))
    operator = client_for(jwks=str(home / "jwks.json"), operators=("operator",))
    found[EXPLANATION] += [
        client.get(EXPLANATION),
        client.get(_as_needed(EXPLANATION), headers=caller),
        operator.get(EXPLANATION, headers=bearer(sign(claims("operator")))),
    ]
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", *ASSETS):
        found[path].append(client.get(path))
    for path in ("/openapi.json", "/docs", *ASSETS):
        found[path].append(client.get(path, headers={"If-None-Match": "*"}))
    publish(
        home,
        many(3)
        | {
            "live_streams": EXAMPLE["live_streams"],
            "private/funded_streams": [{"user_id": FOLLOWER, "stream_id": CREATOR_ID}],
        },
    )
    found[RANKING].append(client.get(RANKING))
    found[FUNDED].append(client.get(FUNDED, headers=follower))
    (home / "snapshots").rename(tmp_path_factory.mktemp("away") / "snapshots")
    empty = client_for(jwks=str(home / "jwks.json"), operators=(CREATOR_ID,))
    for path in (RANKING, FUNDED, STREAMS, "/readyz", RANGE, REACH, EXPLANATION, *PAGES):
        found[path].append(empty.get(_as_needed(path), headers=caller))
    return found


def test_every_answer_is_documented_and_every_documented_answer_is_seen(
    answers: dict[str, list[httpx.Response]],
) -> None:
    """But for what the platform's contract documents and this service never answers by itself."""
    never = {RANKING: {"403", "500"}, FUNDED: {"400", "403", "500"}, STREAMS: {"500"}, EXPLANATION: {"200", "404"}}
    for path, responses in answers.items():
        for response in responses:
            _is_documented(path, response)
        seen = {str(response.status_code) for response in responses}
        assert seen == OPERATIONS[path]["responses"].keys() - never.get(path, set()), path


def test_parameters_are_documented() -> None:
    def names(path: str) -> list[str]:
        return [contract.resolved(DOCUMENT, one)["name"] for one in OPERATIONS[path].get("parameters", [])]

    assert names(RANKING) == ["limit", "If-None-Match"]
    assert names(FUNDED) == []
    assert names(STREAMS) == ["domain", "app", "status", "If-None-Match"]
    assert names(RANGE) == ["days", "from", "to", "limit", "offset", "q", "trend", "format", "If-None-Match"]
    assert names(REACH) == ["creatorId", "days", "from", "to", "format", "If-None-Match"]
    assert names(EXPLANATION) == ["creatorId", "days", "from", "to"]
    assert names("/") == ["days", "first", "last", "q", "page", "lang", "theme", "If-None-Match"]
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
