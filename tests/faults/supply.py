"""What the system is made of: every distribution pinned by hash, installed as pinned, and under a known licence.

Nothing here asks a network. Known vulnerabilities are therefore not looked up here: `make audit` does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from faults.campaign import Effort, Figure, not_tried

CHECKOUT = Path(__file__).parents[2]
SHIPPED, DEVELOPED = "requirements.txt", "requirements-dev.txt"  # the second holds the first
SPARK = ("requirements-spark.txt", "requirements-spark-build.txt")  # installed where there is a Java
# What others may have: an older version of what is shipped, on purpose; and a tool that pins otherwise than Prefect.
OF_OTHERS = ("requirements-analysts.txt", "requirements-clients.txt", "requirements-manifests.txt")
GENERATOR = CHECKOUT / "build" / "supply-venv" / "bin" / "cyclonedx-py"
# what `python -m venv` itself puts into an environment, and this project
NOT_PINNED = {"pip", "setuptools", "mostwatched"}
PINNED = re.compile(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)(?: ; ([^\\]+?))?((?: \\\s+--hash=sha256:[0-9a-f]{64})+)")
# of what is shipped; a choice between such a licence and another (`OR`) is another
CHOSEN = {"text-unidecode": "Artistic License"}  # offered beside the GPL; its metadata cannot say "or"
COPYLEFT = re.compile(r"\b(?:A?GPL|SSPL|GNU (?:Affero )?General Public License)", re.IGNORECASE)
FILES_QUICK = 400  # installed files whose hash is checked in the quick tier


@dataclass(frozen=True)
class Pin:
    """One requirement of a lock."""

    name: str
    version: str
    marker: str
    hashes: frozenset[str]

    @property
    def is_for_here(self) -> bool:
        """Whether it is installed on this machine and Python."""
        return not self.marker or Marker(self.marker).evaluate()


def attack(effort: Effort) -> Iterator[Figure]:
    """Locks, the environment, licences, and what pip does with a file that is not the pinned one."""
    locks = sorted(CHECKOUT.glob("requirements*.txt"))
    yield every_line_is_a_pin(locks)
    yield the_locks_agree(locks)
    yield installed_as_pinned()
    yield every_need_is_pinned()
    yield as_recorded(effort)
    yield refused_by_pip(effort)
    yield licences()
    if GENERATOR.exists():
        yield bill_of_materials(effort)
    else:
        yield not_tried("the software bill of materials", "its generator is not installed; `make sbom` does that")
    yield not_tried("known vulnerabilities", "advisories are asked for over a network: `make audit`")


# --- the locks ---


def pins(lock: Path) -> list[Pin]:
    """Every requirement of a lock that is pinned with hashes."""
    return [
        Pin(canonicalize_name(name), version, marker or "", frozenset(hashes.replace("\\", "").split()))
        for name, version, marker, hashes in PINNED.findall(lock.read_text())
    ]


def every_line_is_a_pin(locks: list[Path]) -> Figure:
    """A name, a version, sha256s, and nothing else: no address, no file, no option."""
    figure = Figure(f"requirements of {len(locks)} locks, pinned by version and sha256")
    for lock in locks:
        text = re.sub(r"(?m)^#.*\n", "", lock.read_text())
        for line in filter(None, PINNED.sub("", text).split("\n")):
            figure.wrong.append(f"{lock.name}: {line!r} is no pinned requirement")
        figure.tried += len(pins(lock))
        seen = [(pin.name, pin.marker) for pin in pins(lock)]
        figure.wrong += [f"{lock.name}: {name} occurs twice" for name in {one for one in seen if seen.count(one) > 1}]
    make = (CHECKOUT / "Makefile").read_text()
    for line in make.split("\n"):
        if line.startswith("\t") and re.search(r"\$\(PIP(_INSTALL)?\)", line):
            is_pinned = re.search(r"--require-hashes( --no-build-isolation)? -r|--no-deps", line) is not None
            figure.check(is_pinned, f"Makefile: {line.strip()}")
    return figure


def the_locks_agree(locks: list[Path]) -> Figure:
    """What is tested is what is shipped: the same version and the same files."""
    figure = Figure("requirements that several locks have are the same in all")
    shipped = {(pin.name, pin.marker): pin for pin in pins(CHECKOUT / SHIPPED)}
    developed = {(pin.name, pin.marker) for pin in pins(CHECKOUT / DEVELOPED)}
    for name in sorted(shipped.keys() - developed):
        figure.wrong.append(f"{name[0]} is in {SHIPPED} and not in {DEVELOPED}")
    versions = {(pin.name, pin.version): pin.hashes for pin in shipped.values()}
    of_name = {name: {pin.version for pin in shipped.values() if pin.name == name} for name, _ in shipped}
    for lock in locks:
        for pin in pins(lock) if lock.name not in OF_OTHERS else ():
            if pin.name in of_name:
                is_same = pin.version in of_name[pin.name] and versions[pin.name, pin.version] == pin.hashes
                figure.check(is_same, f"{lock.name}: {pin.name} {pin.version} is not that of {SHIPPED}")
    return figure


# --- the environment ---


def installed() -> dict[str, Distribution]:
    """Every distribution that this Python would import from."""
    return {canonicalize_name(one.metadata["Name"]): one for one in distributions()}


def wanted_here() -> dict[str, str]:
    """The versions that this environment should hold, by name: the tests', and Spark's where it was installed."""
    locks = (DEVELOPED, *(SPARK if "pyspark" in installed() else ()))
    of_locks = [pin for lock in locks for pin in pins(CHECKOUT / lock)]
    return {pin.name: pin.version for pin in of_locks if pin.is_for_here and pin.name not in NOT_PINNED}


def installed_as_pinned() -> Figure:
    """All that is pinned, in that version, and nothing else."""
    figure = Figure(f"distributions installed and pinned in {DEVELOPED}")
    wanted = wanted_here()
    found = {name: one.version for name, one in installed().items() if name not in NOT_PINNED}
    for name in sorted(wanted.keys() | found.keys()):
        is_same = wanted.get(name) == found.get(name)
        figure.check(is_same, f"{name}: pinned {wanted.get(name)}, installed {found.get(name)}")
    return figure


def every_need_is_pinned() -> Figure:
    """Whatever a pinned distribution, or this project, asks for is pinned in a version that it can use."""
    figure = Figure("dependencies of what is pinned are pinned")
    wanted = wanted_here()
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needs = [("this project", need) for need in (*project["dependencies"], *extras["build"], *extras["dev"])]
    needs += [("this project", need) for need in (extras["spark"] if "pyspark" in wanted else ())]
    needs += [(name, need) for name, one in installed().items() if name in wanted for need in one.requires or []]
    for name, text in needs:
        need = Requirement(text)
        if need.marker and not need.marker.evaluate({"extra": ""}):
            continue
        version = wanted.get(canonicalize_name(need.name))
        if need.name in NOT_PINNED and name != "this project":
            continue
        fits = version is not None and need.specifier.contains(version, prereleases=True)
        figure.check(fits, f"{name} needs {text}, and {version} is pinned")
    return figure


def as_recorded(effort: Effort) -> Figure:
    """Installed files are those that pip unpacked: their sha256 is the one of their RECORD."""
    figure = Figure("installed files with the sha256 of their record")
    files = [
        file
        for one in installed().values()
        if canonicalize_name(one.metadata["Name"]) not in NOT_PINNED
        for file in one.files or []
        if file.hash is not None and file.hash.mode == "sha256"
    ]
    if not effort.full:
        files = effort.random("files").sample(files, min(FILES_QUICK, len(files)))
    for file in files:
        path = Path(str(file.locate()))
        content = path.read_bytes() if path.is_file() else b""
        found = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        assert file.hash is not None
        figure.check(found == file.hash.value, f"{path} is not the file that was installed")
    return figure


def refused_by_pip(effort: Effort) -> Figure:
    """pip takes the file whose hash is pinned, and neither another one of the same name nor one without a hash."""
    figure = Figure("wheels that are not the pinned ones, given to pip")
    shelf = effort.scratch / "shelf"
    shelf.mkdir()
    wheel = shelf / "made_up-1.0-py3-none-any.whl"
    info = {"METADATA": "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n", "RECORD": ""}
    info["WHEEL"] = "Wheel-Version: 1.0\nGenerator: here\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in info.items():
            archive.writestr(f"made_up-1.0.dist-info/{name}", text)
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    tries = (
        (f"made-up==1.0 --hash=sha256:{sha256}", True),
        (f"made-up==1.0 --hash=sha256:{hashlib.sha256(b'another').hexdigest()}", False),
        ("made-up==1.0", False),
    )
    for text, is_taken in tries:
        lock = effort.scratch / "lock.txt"
        lock.write_text(text + "\n")
        command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "download", "--no-index"]
        command += ["--no-deps", "--require-hashes", "--find-links", str(shelf), "-d", str(effort.scratch / "taken")]
        done = subprocess.run([*command, "-r", str(lock)], capture_output=True, text=True, timeout=120, check=False)
        figure.check((done.returncode == 0) == is_taken, f"{text}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return figure


# --- licences ---


def licence(one: Distribution) -> str:
    """What its metadata says: the expression, else the classifiers, else the free text."""
    said = one.metadata
    classified = [text.split(" :: ")[-1] for text in said.get_all("Classifier", []) if text.startswith("License ::")]
    free = (said.get("License") or "").strip().split("\n")[0]
    found = said.get("License-Expression") or " AND ".join(classified) or free
    return "" if found.upper() == "UNKNOWN" else str(found)


def licences() -> Figure:
    """Each of what is shipped names one, and none is such that it would bind what is built with it."""
    figure = Figure(f"licences of what {SHIPPED} installs")
    shipped = {pin.name for pin in pins(CHECKOUT / SHIPPED) if pin.is_for_here}
    unnamed = []
    for name, one in sorted(installed().items()):
        said = licence(one)
        if name in shipped:
            figure.check(bool(said), f"{name} names no licence")
            is_free = not COPYLEFT.search(CHOSEN.get(name, said)) or " OR " in said
            figure.check(is_free, f"{name}: {said}")
        elif not said and name not in NOT_PINNED:
            unnamed.append(name)
    if unnamed:
        figure.note = f"of the tools, without one in their metadata: {', '.join(unnamed)}"
    return figure


# --- the bill of materials ---


def bill_of_materials(effort: Effort) -> Figure:
    """What `make sbom` writes is CycloneDX, names what is installed, and every licence that is known."""
    figure = Figure("components of the software bill of materials")
    written = effort.scratch / "sbom.json"
    command = [GENERATOR, "environment", "--pyproject", CHECKOUT / "pyproject.toml", "--mc-type", "application"]
    command += ["--short-PURLs", "--output-reproducible", "--of", "JSON", "-o", written, sys.executable]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        return Figure(figure.what, 1, [done.stderr[-500:]])
    bill = json.loads(written.read_text())
    figure.check(bill["bomFormat"] == "CycloneDX", "it is no CycloneDX")
    root = bill["metadata"]["component"]
    figure.check(root["name"] == "mostwatched", f"it is about {root['name']}")
    shipped = {pin.name for pin in pins(CHECKOUT / SHIPPED)}
    listed = {canonicalize_name(one["name"]): one for one in bill["components"]}
    for name, one in installed().items():
        if name == "mostwatched":
            continue
        component = listed.get(name, {})
        figure.check(component.get("version") == one.version, f"{name} {one.version} is not in it")
        if name in shipped:
            figure.check(bool(component.get("licenses")), f"{name}: no licence in it")
    return figure
