"""TypeScript clients that generators make of /openapi.json, and what linters say of it; all of npm's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from published import CREATOR_ID
from tokens import claims, sign

from pipelines.api import contract

SOURCES = Path(__file__).with_name("typescript")
MODULES = Path(__file__).parents[2] / "build" / "clients-node" / "node_modules"  # made by `make clients`
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "generate-a-client.md"
UNKNOWN_SNAPSHOT = "2026-01-01-0123456789ab"
# The documents leave open what these hold, and what smaller photos are called.
OPEN = {"broadcasters: unknown[];", "guests: unknown[];", "miniCrowdFundings: unknown[];", "[key: string]: unknown;"}


@pytest.fixture(scope="module")
def folder(served: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, the served document, what a generator makes of it, and what npm has installed."""
    if shutil.which("node") is None or not MODULES.exists():
        pytest.skip("no TypeScript: `make clients` installs it where there is a Node")
    folder = tmp_path_factory.mktemp("typescript")
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "openapi.json").write_bytes(httpx.get(f"{served}/openapi.json").content)
    done(folder, "node_modules/.bin/openapi-typescript", "openapi.json", "--output", "api.ts")
    return folder


def done(folder: Path, *command: str) -> str:
    """What a program says that must end well."""
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    return ended.stdout


@pytest.fixture(scope="module")
def public(served: str, folder: Path) -> Path:
    """The same folder, with the document as a server has it that knows its address, and what two more make of it."""
    if not (MODULES / ".bin" / "orval").exists() or not (MODULES / ".bin" / "openapi-ts").exists():
        pytest.skip("no orval or @hey-api/openapi-ts: `make clients` installs them")
    document = json.loads((folder / "openapi.json").read_text("utf-8"))
    (folder / "public.json").write_bytes(contract.as_json(contract.served_at(document, served)))
    done(folder, "node_modules/.bin/orval")
    done(folder, "node_modules/.bin/openapi-ts")
    return folder


def test_a_validator_finds_nothing(served: str) -> None:
    assert list(OpenAPIV31SpecValidator(httpx.get(f"{served}/openapi.json").json()).iter_errors()) == []


@pytest.mark.slow
def test_a_linter_finds_nothing(folder: Path) -> None:
    """No error and no warning by Redocly's recommended rules."""
    assert done(folder, "node", "judge.mjs", "openapi.json") == ""


@pytest.mark.slow
def test_spectral_finds_nothing(public: Path) -> None:
    """No error and no warning by its rules for OpenAPI."""
    spectral = "node_modules/.bin/spectral"
    if not (public / spectral).exists():
        pytest.skip("no @stoplight/spectral-cli: `make clients` installs it")
    said = done(public, spectral, "lint", "public.json", "--ruleset", "spectral.yaml", "--fail-severity", "hint")
    assert said.splitlines()[0] == "No results with a severity of 'hint' or higher found!"


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["orval", "hey-api"])
def test_clients_of_other_generators_read_data_and_errors(served: str, public: Path, generator: str) -> None:
    """A strict program compiles, calls endpoints with and without a token, and finds what the types say."""
    done(public, "node_modules/.bin/tsc", "--project", f"tsconfig.{generator}.json")
    program, token = f"with_{generator.replace('-', '_')}.js", sign(claims(CREATOR_ID))
    address = {"orval": [], "hey-api": [served]}[generator]  # orval reads it from the document
    said = json.loads(done(public, "node", program, *address, token, CREATOR_ID).splitlines()[-1])
    required = "Authentication required"
    assert said == [True, 200, None, False, "owner", required, "active", None, 1, "ok"]


@pytest.mark.slow
def test_a_strict_program_calls_every_operation(served: str, folder: Path) -> None:
    """It compiles with every check of the compiler, and reads data and errors of every status that it can cause."""
    (program,) = re.findall(r"^```ts\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (folder / "guide.ts").write_text(program.replace("http://localhost:8000", served))
    done(folder, "node_modules/.bin/tsc", "--project", ".")
    arguments = [served, sign(claims(CREATOR_ID)), CREATOR_ID, UNKNOWN_SNAPSHOT, sign(claims("operator"))]
    said = json.loads(done(folder, "node", "program.js", *arguments).splitlines()[-1])
    document = json.loads((folder / "openapi.json").read_text())
    operations = {each["get"]["operationId"]: each["get"]["responses"].keys() for each in document["paths"].values()}
    assert said["statuses"].keys() == operations.keys()
    # 304 is a browser's to see, 405 no operation's; 403, 429, 500 and 503 need another server (test_openapi.py has all)
    elsewhere = {"304", "405", "429", "500", "503"}
    for operation, statuses in said["statuses"].items():
        missing = operations[operation] - set(map(str, statuses)) - elsewhere
        known = {
            "mostWatchedCreators": {"403"},
            "fundedStreams": {"400", "403"},
            "rankingPage": {"400"},
            "creatorPage": {"400", "404"},
        }
        assert missing == known.get(operation, set()), operation
    assert said["next"] is None
    assert done(folder, "node", "guide.js").splitlines()[0] == "johndoe null"


def test_no_field_is_of_no_type(folder: Path) -> None:
    """What the generator does not understand becomes unknown or never."""
    schemas = (folder / "api.ts").read_text().partition("    schemas: {")[2].partition("    responses: {")[0]
    assert "RankedCreator" in schemas
    untyped = {line.strip() for line in schemas.splitlines() if re.search(r"\b(unknown|never|any)\b", _code(line))}
    assert untyped == OPEN


def _code(line: str) -> str:
    """A line without what is a comment, or the text of one."""
    return "" if line.strip().startswith(("*", "/*")) else line
