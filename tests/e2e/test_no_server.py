"""A run leaves nothing that another user of the machine can talk to; Prefect's server answers who has its string."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from listening import listening
from prefect_harness import PrefectServer, running

ROOT = Path(__file__).resolve().parents[2]
OPEN = {"/health", "/ready"}  # what Prefect answers without its string: that it is there
ASKED = ("/admin/version", "/admin/settings", "/flow_runs/filter", "/artifacts/filter", "/deployments/filter")

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="sockets are listed as Linux lists them"),
]


def default_run(folder: Path) -> tuple[list[str], dict[str, str]]:
    """The command of README, and the environment of somebody who has set nothing."""
    home = folder / "home"
    command = [sys.executable, "-m", "pipelines.cli", "--home", str(home), "run", "--json"]
    command += ["--landing", str(ROOT / "data" / "sample"), "--as-of", "2013-07-01"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MOSTWATCHED_"))}
    return command, ours | {"HOME": str(folder), "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
def test_a_default_run_listens_nowhere(tmp_path: Path) -> None:
    """Nobody has set a server: the run says in one line that it does without, and gives the same answer."""
    command, environ = default_run(tmp_path)
    heard: set[str] = set()
    with subprocess.Popen(
        command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        while run.poll() is None:
            heard |= listening(run.pid)
            time.sleep(0.1)
        assert run.stdout is not None
        assert run.stderr is not None
        answer, said = run.stdout.read(), run.stderr.read()
    assert run.returncode == 0, said
    assert heard == set()
    assert json.loads(answer.splitlines()[-1])["snapshot_id"] == "2013-07-01-95cbb4760cdd"
    assert [line for line in said.splitlines() if "PREFECT" in line] == [
        "mostwatched: No PREFECT_API_URL names a Prefect server: running as with --direct."
    ]


URL = "http://127.0.0.1:9/api"
PROFILE = f'active = "x"\n[profiles.x]\nPREFECT_API_URL = "{URL}"\n'
# Where Prefect finds the server: the environment, and files of the folder of the process, by what stands in them.
NAMED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "a variable": ({"PREFECT_API_URL": URL}, {}),
    "a variable in lower case": ({"prefect_api_url": URL}, {}),
    ".env": ({}, {".env": f"PREFECT_API_URL={URL}\n"}),
    "prefect.toml": ({}, {"prefect.toml": f'[api]\nurl = "{URL}"\n'}),
    "pyproject.toml": ({}, {"pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"\n'}),
    "pyproject.toml in another form": ({}, {"pyproject.toml": f'tool = {{prefect = {{api = {{url = "{URL}"}}}}}}\n'}),
    "a profile": ({}, {"home/.prefect/profiles.toml": PROFILE}),
    "a profile of another home of Prefect's": ({"PREFECT_HOME": "other"}, {"other/profiles.toml": PROFILE}),
    "profiles elsewhere": ({"PREFECT_PROFILES_PATH": "p"}, {"p": PROFILE}),
    "profiles elsewhere, by .env": ({}, {".env": "PREFECT_PROFILES_PATH=p\n", "p": PROFILE}),
    "profiles elsewhere, by pyproject.toml": ({}, {"pyproject.toml": 'tool.prefect.profiles_path = "p"', "p": PROFILE}),
}
NOT_NAMED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "nothing": ({}, {}),
    "a project of somebody's": ({}, {"pyproject.toml": '[project]\nname = "prefect"\n[tool.ruff]\n'}),
    "other variables": ({"PREFECT_LOGGING_LEVEL": "INFO", "PREFECT_HOME": "nowhere"}, {}),
}
ASK_PREFECT = """
import json
from prefect.settings import PREFECT_API_URL
from pipelines.jobs.prefect_reporter import may_name_server
print(json.dumps([PREFECT_API_URL.value(), may_name_server()]))
"""


FEW = ("a variable", "a profile", "nothing")  # of which each takes a start of Prefect


@pytest.mark.parametrize(
    "where",
    [pytest.param(where, marks=[] if where in FEW else pytest.mark.slow) for where in [*NAMED, *NOT_NAMED]],
)
def test_prefect_is_started_where_it_may_name_a_server(tmp_path: Path, where: str) -> None:
    """Wherever Prefect itself finds one we see that it may; where there is nothing to find, it is not imported."""
    variables, files = (NAMED | NOT_NAMED)[where]
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    environ = default_run(tmp_path)[1] | {"HOME": str(tmp_path / "home")} | variables
    asked = subprocess.run(
        [sys.executable, "-c", ASK_PREFECT], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    url, may_name = json.loads(asked.stdout)
    assert (url, may_name) == ((URL, True) if where in NAMED else (None, False))


def test_a_flow_starts_no_server_either(tmp_path: Path) -> None:
    """Whoever calls a flow without a server is told to name one."""
    _, environ = default_run(tmp_path)
    call = "from pipelines.jobs.prefect_flows import prune; prune()"
    run = subprocess.run(
        [sys.executable, "-c", call], env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "PREFECT_API_URL" in run.stderr.splitlines()[-1]


def test_what_listens_is_seen(tmp_path: Path) -> None:
    """The tests above would notice a server that a child of the run starts."""
    serve = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(flush=True); time.sleep(60)"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {serve!r}])"
    log = tmp_path / "log"
    with running([sys.executable, "-c", start], tmp_path, dict(os.environ), log) as process:
        give_up_at = time.monotonic() + 30
        while not log.read_bytes() and time.monotonic() < give_up_at:
            time.sleep(0.05)
        assert len(listening(process.pid)) == 1


@pytest.mark.xdist_group("prefect")
@pytest.mark.parametrize("credentials", [None, ("mostwatched", ""), ("mostwatched", "x" * 64)])
def test_the_server_of_the_guide_answers_nobody_else(
    prefect_server: PrefectServer, credentials: tuple[str, str] | None
) -> None:
    """Whoever has not its string, which no other user can read, gets 401; and it listens on the loopback alone."""
    for path in (*ASKED, "/openapi.json", "/docs", "/no-such-path"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            answer = httpx.request(method, prefect_server.url + path, json={}, auth=credentials, timeout=20)
            assert answer.status_code == httpx.codes.UNAUTHORIZED, (method, path)
    for path in OPEN:
        assert httpx.get(prefect_server.url + path, timeout=20).json() in (True, {"message": "OK"})
    port = int(prefect_server.url.rsplit(":", 1)[1].removesuffix("/api"))
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", port))
