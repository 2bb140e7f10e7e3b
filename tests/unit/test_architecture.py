"""Who may import whom, read from the files themselves: import-linter holds the same as contracts."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import pipelines

PACKAGE = Path(pipelines.__file__).parent
LAYERS = ("cli", "jobs", "remote", "snapshots", "lake", "raw", "landing", "core")  # each imports those after it
READ_API = {"pipelines.core", "pipelines.snapshots.manifest"}  # all that it may import, and does
MAX_ENTRIES = 12  # what a reader takes in at a glance
HOMES = {
    "duckdb": {"lake/engines/duckdb.py"},
    "jinja2": {"core/templates.py"},
    "prefect": {"jobs/prefect_flows.py"},
    "pyspark": {"lake/engines/spark.py", "lake/engines/spark_context.py"},
    "sqlglot": {"lake/engines/spark_sql.py"},
}


def imported(path: Path) -> set[str]:
    """Every module that a file may import, also in a function or for type checkers alone, or a name in one."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


IMPORTS = {path.relative_to(PACKAGE).as_posix(): imported(path) for path in PACKAGE.rglob("*.py")}


def packages_imported_by(package: str) -> dict[str, set[str]]:
    """The other packages of ours that a package imports, each with the files that do."""
    found = defaultdict(set)
    for file, names in IMPORTS.items():
        if file.startswith(f"{package}/"):
            for name in names:
                if (ours := re.match(r"pipelines\.([a-z]\w*)", name)) and ours[1] != package:
                    found[ours[1]].add(file)
    return found


def test_the_package_fits_on_a_page():
    """A newcomer sees at most a dozen names, and each but the first is a package of a layer, or the read API."""
    # A folder of nothing but compiled modules is what git leaves behind of one that has moved.
    entries = {path.name for path in PACKAGE.iterdir() if path.is_file() or any(path.rglob("*.py"))}
    assert len(entries) <= MAX_ENTRIES
    assert entries - {"__init__.py", "py.typed"} == {*LAYERS, "api"}
    assert " -> ".join(LAYERS) in (pipelines.__doc__ or "")


def test_no_module_imports_itself_through_others():
    """Every module can be read after those that it imports: leaving out what imports nothing leaves nothing over."""
    files = {
        f"pipelines.{file.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}": file for file in IMPORTS
    }
    left = {
        module: {name if name in files else name.rpartition(".")[0] for name in IMPORTS[file]} & files.keys()
        for module, file in files.items()
        if module != "pipelines.__init__"
    }
    while leaves := {module for module, names in left.items() if not names & left.keys()}:
        left = {module: names for module, names in left.items() if module not in leaves}
    assert left == {}


@pytest.mark.parametrize("package", LAYERS)
def test_no_package_imports_upward(package):
    """Each imports what stands below it; only the command line, which starts it, knows the read API."""
    below = {*LAYERS[LAYERS.index(package) + 1 :], *(["api"] if package == "cli" else [])}
    upward = {name: files for name, files in packages_imported_by(package).items() if name not in below}
    assert upward == {}


def test_the_read_api_imports_the_manifest_and_the_core_alone():
    """So it needs no database, and nothing that a request says can reach one; what it may, it needs."""
    names = {name for file, names in IMPORTS.items() if file.startswith("api/") for name in names}
    ours = {name for name in names if name.startswith("pipelines.") and not name.startswith("pipelines.api.")}
    ours -= {"pipelines.api", "pipelines.__version__"}
    used = {allowed for allowed in READ_API for name in ours if f"{name}.".startswith(f"{allowed}.")}
    strangers = {name for name in ours if not any(f"{name}.".startswith(f"{allowed}.") for allowed in READ_API)}
    assert strangers == set()
    assert used == READ_API


@pytest.mark.parametrize("library", HOMES)
def test_a_library_stays_at_home(library):
    """What could be replaced one day is imported where it would be."""
    assert {file for file, names in IMPORTS.items() if library in {name.split(".")[0] for name in names}} == HOMES[
        library
    ]
