"""A client that a generator makes of /openapi.json, against a real server: every answer is parsed, good or bad."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from published import CREATOR_ID
from tokens import claims, sign

GENERATOR = Path(__file__).parents[2] / "build" / "clients-venv" / "bin" / "python"  # made by `make clients`
PACKAGE = "most_watched_creators_client"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "generate-a-client.md"
SVG = "pages.asset_icon_svg"  # an image, which the generator takes for no text


@pytest.fixture(scope="module")
def package(served: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the package that openapi-python-client makes of what the server says of itself."""
    if not GENERATOR.exists():
        pytest.skip("no generator of clients: `make clients` installs one")
    folder = tmp_path_factory.mktemp("client")
    (folder / "openapi.json").write_bytes(httpx.get(f"{served}/openapi.json").content)
    # Without hooks: they would format the code.
    (folder / "config.yaml").write_text("post_hooks: []\n")
    command = [str(GENERATOR), "-m", "openapi_python_client", "generate", "--meta", "none", "--path", "openapi.json"]
    done = subprocess.run(
        [*command, "--output-path", PACKAGE, "--config", "config.yaml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert said.count("WARNING") == said.count("Unsupported content_type image/svg+xml") == 1, said
    assert "Unable to process" not in said, said
    sys.path.insert(0, str(folder))
    try:
        yield PACKAGE
    finally:
        sys.path.remove(str(folder))


called: set[str] = set()  # of the modules of operations


def endpoint(package: str, path: str) -> ModuleType:
    called.add(path)
    return importlib.import_module(f"{package}.api.{path}")


@pytest.fixture
def client(package: str, served: str) -> Any:
    """A client without a token."""
    return importlib.import_module(package).Client(base_url=served)


@pytest.fixture
def caller(package: str, served: str) -> Any:
    """A client with the token of a user."""
    return importlib.import_module(package).AuthenticatedClient(base_url=served, token=sign(claims(CREATOR_ID)))


def test_every_endpoint_is_called_and_its_answer_parsed(package: str, served: str, client: Any, caller: Any) -> None:
    ranked = endpoint(package, "live_streams.most_watched_creators").sync(client=client, limit=5)
    assert ranked.data[0].profile_photo is not None
    assert ranked.data[0].is_following is None
    assert endpoint(package, "live_streams.most_watched_creators").sync(client=caller).data[0].is_following is not None
    funded = endpoint(package, "live_streams.funded_streams").sync(client=caller)
    assert funded.data[0].creator.field_id
    assert isinstance(funded.data[0].broadcasters, list)
    assert endpoint(package, "streams.list_streams").sync(client=client).streams
    over_time = endpoint(package, "creators.creator_over_time").sync(client=client, creator_id=CREATOR_ID)
    assert over_time.data.ranking.rank == 1
    in_range = endpoint(package, "creators.ranking_of_range").sync(client=client, days=7)
    assert in_range.data.creators
    window = over_time.data.window
    same = endpoint(package, "creators.ranking_of_range").sync(client=client, from_=window.from_, to=window.to)
    assert same.data.window == window
    assert isinstance(window.from_, date)
    assert endpoint(package, "operations.health").sync(client=client).data.status == "ok"
    assert endpoint(package, "operations.readiness").sync(client=client).data.snapshot_id
    assert "mostwatched_" in endpoint(package, "operations.metrics").sync(client=client)
    assert endpoint(package, "operations.openapi").sync(client=client).additional_properties["openapi"]
    assert "<html" in endpoint(package, "operations.docs").sync(client=client)
    assert "<html" in endpoint(package, "pages.ranking_page").sync(client=client)
    assert "<html" in endpoint(package, "pages.creator_page").sync(client=client, id=CREATOR_ID)
    for name in ("charts_js", "explanation_js", "page_css", "page_js"):
        assert endpoint(package, f"pages.asset_{name}").sync(client=client)
    operator = importlib.import_module(package).AuthenticatedClient(base_url=served, token=sign(claims("operator")))
    why = endpoint(package, "creators.why_this_number").sync(client=operator, creator_id=CREATOR_ID)
    assert why.data.creator_id == CREATOR_ID
    there = {f"{path.parent.name}.{path.stem}" for path in _folder(package).glob("api/*/*.py")}
    assert called >= {path for path in there if not path.endswith(".__init__")} - {SVG}


@pytest.mark.parametrize(
    ("path", "arguments", "status"),
    [
        ("live_streams.most_watched_creators", {"limit": 0}, 400),
        ("live_streams.funded_streams", {}, 401),
        ("creators.ranking_of_range", {"days": 100_000}, 400),
        ("creators.creator_over_time", {"creator_id": "nobody"}, 404),
        ("creators.ranking_of_range", {"snapshot": "2026-01-01-0123456789ab"}, 410),
        ("creators.creator_over_time", {"creator_id": CREATOR_ID, "days": 100_000}, 400),
        ("creators.creator_over_time", {"creator_id": CREATOR_ID, "snapshot": "2026-01-01-0123456789ab"}, 410),
        ("creators.why_this_number", {"creator_id": CREATOR_ID}, 401),
        ("streams.list_streams", {"status": SimpleNamespace(value="x")}, 400),
    ],
)
def test_errors_are_parsed_as_the_envelope(
    package: str, client: Any, path: str, arguments: dict[str, Any], status: int
) -> None:
    answer = endpoint(package, path).sync_detailed(client=client, **arguments)
    assert answer.status_code == status
    assert answer.parsed.is_success is False
    assert answer.parsed.status_code == status
    assert answer.parsed.errors


def test_the_program_of_the_documents_runs(package: str, served: str) -> None:
    """docs/how-to/generate-a-client.md, in Python: it walks through a ranking and asks as a user."""
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    program = program.replace("http://localhost:8000", served).replace("TOKEN", sign(claims(CREATOR_ID)))
    program = program.replace("limit=500", "limit=1")
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(_folder(package).parent)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert re.fullmatch(r"[1-9][0-9]* creators", said[0])
    assert said[1].startswith("200 [FundedStream(")


def _folder(package: str) -> Path:
    return Path(str(importlib.import_module(package).__file__)).parent


def test_no_model_has_a_field_of_no_type(package: str) -> None:
    """What a generator does not understand becomes Any; the lists whose items the documents leave open are known."""
    models = _folder(package) / "models"
    untyped = {
        f"{path.stem}.{line.split(':')[0].strip()}"
        for path in models.glob("*.py")
        for line in path.read_text().splitlines()
        if line.startswith("    ") and not line.startswith("     ") and line.rstrip().endswith((": Any", ": list[Any]"))
    }
    assert untyped == {
        "funded_stream.broadcasters", "funded_stream.guests", "funded_stream.mini_crowd_fundings"
    }  # fmt: skip
