"""The files in deploy/: what programs that read them say of them, and what must agree with the code.

What is not installed is skipped by name: systemd-analyze, docker compose, kubernetes-validate.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.cli import cli
from pipelines.core import settings
from pipelines.core.errors import Busy, MostwatchedError, RefusedToPublish, UsageError

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.name.startswith("mostwatched-"))
SERVICES = [path for path in UNITS if path.suffix == ".service"]
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here ({package})")
    return found


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def unit(path: Path) -> dict[str, list[str]]:
    """Name -> values, in order."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def documents() -> list[dict[str, Any]]:
    """Every object of the manifests."""
    return [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]


def pods() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, pod, its container) of everything that runs there."""
    found = []
    for one in documents():
        if one["kind"] in ("CronJob", "Deployment"):
            spec = one["spec"]
            pod = (spec["jobTemplate"]["spec"] if one["kind"] == "CronJob" else spec)["template"]["spec"]
            (container,) = pod["containers"]
            found.append((one["metadata"]["name"], pod, container))
    return found


def commands() -> list[list[str]]:
    """Every mostwatched command of the files, without its program."""
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return [
        *(line.split()[1:] for path in SERVICES for line in unit(path)["ExecStart"]),
        *(container["args"] for _, _, container in pods()),
        *(composed[name]["command"] for name in ("api", "first-night")),
        ast.literal_eval(re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[0]),
    ]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_command_is_one_that_there_is(command):
    """With its options; click says so without running it."""
    group: Any = cli
    words = list(command)
    while hasattr(group, "commands"):
        name = words.pop(0)
        assert name in group.commands, command
        group = group.commands[name]
    options = {option for parameter in group.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_setting_is_one_that_there_is():
    """A misspelt one would be a warning in a log that nobody reads."""
    known = {settings.variable(name) for name in settings.names()}
    ours = {"MOSTWATCHED_BASE", "MOSTWATCHED_IMAGE", "MOSTWATCHED_LANDING", "MOSTWATCHED_FIRST_AS_OF"}
    for path in [*DEPLOY.rglob("*")]:
        if path.is_file():
            named = set(re.findall(r"\bMOSTWATCHED_[A-Z0-9_]+[A-Z0-9]\b", path.read_text()))
            assert named <= known | (ours if path.name == "compose.yaml" else set()), path


def test_exit_codes_are_understood():
    """A refusal is not tried again, nor a wrong setting; what may pass is. Another run at work is no failure."""
    night = unit(DEPLOY / "systemd/mostwatched-night.service")
    assert night["SuccessExitStatus"] == [str(Busy.exit_code)]
    never_again = [UsageError.exit_code, RefusedToPublish.exit_code]
    assert night["RestartPreventExitStatus"] == [" ".join(map(str, never_again))]
    assert MostwatchedError.exit_code not in never_again
    (job,) = [one for one in documents() if one["kind"] == "CronJob" and one["metadata"]["name"] == "night"]
    (rule,) = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [*never_again, Busy.exit_code]
    assert job["spec"]["concurrencyPolicy"] == "Forbid"


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_units_need_no_program_but_ours_and_a_shell(path):
    """A small Debian has no /bin/kill: a reload failed there."""
    started = [line for name, lines in unit(path).items() if name.startswith("Exec") for line in lines]
    assert {line.split()[0] for line in started} <= {"/opt/mostwatched/.venv/bin/mostwatched", "/bin/sh"}


def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    """systemd-analyze verify, with a program that is there in place of ours."""
    verify = program("systemd-analyze", "Debian's package systemd")
    for path in UNITS:
        text = path.read_text().replace("/opt/mostwatched/.venv/bin/mostwatched", shutil.which("true") or "/bin/true")
        (tmp_path / path.name).write_text(text)
    assert run(verify, "verify", *(tmp_path / path.name for path in UNITS), cwd=tmp_path) == ""


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_services_are_shut_in(path):
    """At most 2.0 of 10 by systemd-analyze security; without any of it a service has 9.6."""
    analyze = program("systemd-analyze", "Debian's package systemd")
    said = run(analyze, "security", "--offline=true", "--threshold=20", path)
    assert "Overall exposure level" in said


@pytest.mark.parametrize(
    "path", [path for path in MANIFESTS if path.name != "kustomization.yaml"], ids=lambda p: p.name
)
def test_manifests_are_what_kubernetes_publishes(path):
    """Strictly: a field that the schemas do not know is an error."""
    ours = ROOT / "build/manifests-venv/bin/kubernetes-validate"  # `make manifests`
    validate = str(ours) if ours.exists() else program("kubernetes-validate", "make manifests")
    assert "passed" in run(validate, "--strict", path)


def test_kustomize_renders_every_object():
    """By the kustomize that kubectl holds: what `kubectl apply -k` sends, all of it in our namespace."""
    rendered = yaml.safe_load_all(run(program("kubectl", "Kubernetes' client"), "kustomize", DEPLOY / "kubernetes"))
    found = sorted((one["kind"], one["metadata"]["name"], one["metadata"].get("namespace", "")) for one in rendered)
    written = sorted((one["kind"], one["metadata"]["name"]) for one in documents() if one["kind"] != "Kustomization")
    assert [(kind, name) for kind, name, _ in found] == written
    assert {namespace for kind, _, namespace in found if kind != "Namespace"} == {"mostwatched"}


def test_pods_keep_to_the_restricted_standard():
    """Not root, nothing of the node, a read-only root with a writable /tmp; and the kustomization has all files."""
    for name, pod, container in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]} == {
            "home": "/data",
            "tmp": "/tmp",
        }
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
    kustomization = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())
    assert {*kustomization["resources"], "kustomization.yaml"} == {path.name for path in MANIFESTS}


def test_compose_takes_the_file(tmp_path):
    """`docker compose config`, of the plugin or of its predecessor, which knows no project name in the file."""
    text = (DEPLOY / "compose.yaml").read_text()
    plugin = (
        shutil.which("docker")
        and not subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    )
    command = ["docker", "compose"] if plugin else [program("docker-compose", "Debian's package docker-compose")]
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy/compose.yaml").write_text(text if plugin else text.replace("name: mostwatched\n", "", 1))
    said = yaml.safe_load(run(*command, "-f", str(tmp_path / "deploy/compose.yaml"), "config"))
    assert len(said["services"]) == 8


def test_compose_is_shut_in_and_mounts_what_is_there():
    """Ports are on the loopback alone, our containers are read-only, and every mounted file exists."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["cap_drop"] == ["ALL"], name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), volume
    assert all(services[name]["read_only"] for name in ("api", "first-night", "prefect", "worker", "redis"))


def test_the_image_is_made_of_what_is_there():
    """Every file that is copied exists and is let into the context; the image's user is not root."""
    text = (DEPLOY / "Dockerfile").read_text()
    let_in = re.findall(r"^!(\S+)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE) for name in line.split()[:-1]]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / name).exists() for name in copied)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    assert "ARG BASE\nFROM ${BASE}" in text
