"""Names of pipelines/ are the field's standard terms: the words that were coined once and replaced do not come back."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pipelines

PACKAGE = Path(pipelines.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Each with what it is called now.
MODULES = {
    "analysis": "range_query",
    "asking": "query_params",
    "bucket": "remote",
    "compact": "common_form",
    "desk": "query_service",
    "durations": "timings",
    "exchange": "messages",
    "explaining": "explanations",
    "following": "replica",
    "in_place": "httpfs",
    "late": "changed_days",
    "night": "nightly, or run",
    "picture": "bars",
    "privacy": "erase",
    "prose": "render",
    "questions": "query",
    "refusals": "gates",
    "settling": "restore_quarantined",
    "telling": "run_lifecycle",
    "thinking": "query_service",
    "traces": "id_search",
    "watching": "snapshot_watcher",
    "wire": "http_protocol",
    "words": "translations",
}
NAMES = {
    "account": "RunRecorder",
    "asked": "QueryEndpoint",
    "before_it_stands": "on_written",
    "brought": "download_new",
    "colleagues": "WorkerMetrics",
    "complain": "raise_damaged",
    "connected": "session",
    "curious": "QueryApi",
    "desk": "QueryService",
    "each": "map_tasks, map_concurrently",
    "emptied": "rewrite",
    "emptying": "rewrite",
    "finding_only": "dry_run",
    "follower": "Replica",
    "held": "locked_home",
    "landed_in_vain": "all_rejected",
    "late": "late_events",
    "made_before": "previous_snapshot",
    "nobody": "noop",
    "note": "update, add_entry",
    "note_outdone": "record_losing_version",
    "of_the_end": "notify_on_exit",
    "of_what_it_leaves": "write_artifacts",
    "outdone": "LOSING_VERSION",
    "overtaken": "PublishConflict",
    "rested_on": "resolve_landed",
    "rests_on": "leaf_sources",
    "seal": "checksum",
    "seal_of": "checksum_of",
    "sealed": "with_checksum",
    "set_aside": "quarantine",
    "settle": "restore_quarantined",
    "sought": "IdMatcher",
    "span": "InclusiveRange",
    "spread": "map_tasks, robust_scale",
    "standing": "list_pending",
    "stands": "exists",
    "telling": "run_lifecycle",
    "theirs": "owned_rows",
    "told": "timed, update, translate_errors",
    "traces": "find_files",
    "unbelievable": "ChecksumMismatch",
    "unsealed": "verify_checksum",
    "unsound": "CorruptBlock",
    "unsoundness": "CorruptionStart",
    "unstored": "EphemeralModel",
    "vanished": "missing_inputs",
    "without": "exclude_users",
    "witness": "RunObserver",
    "words": "Language",
}
PARAMETERS = {
    "account": "recorder",
    "before_it_stands": "on_written",
    "days_awaited": "expected_days",
    "instead": "replace_current",
    "left_alone": "ignored",
    "sought": "matcher",
    "spread": "map_tasks",
    "told": "context",
    "unsound": "corruption",
    "witness": "observer",
    "words": "lang",
}


def replaced(names: list[str], banned: dict[str, str]) -> dict[str, str]:
    """The names that are banned, whatever their case and with or without an underscore before, and what to use."""
    return {name: banned[key] for name in names if (key := name.lstrip("_").lower()) in banned}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_are_the_terms_of_the_field(path):
    """Modules, functions, classes and parameters, private ones too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    definitions = [
        node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    ]
    assert replaced([path.stem, path.parent.name], MODULES) == {}
    assert replaced(definitions, NAMES) == {}
    assert replaced([node.arg for node in nodes if isinstance(node, ast.arg)], PARAMETERS) == {}


def test_every_module_says_what_it_is():
    """In a sentence that begins its docstring and ends with a full stop or a colon."""
    docstrings = {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in FILES}
    assert [path.name for path, text in docstrings.items() if not text.split("\n\n")[0].endswith((".", ":", "`"))] == []
