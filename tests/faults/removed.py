"""The safeguards of the system: how each is taken away, and the tests that must then fail.

A safeguard is a statement in the product where something is refused, checked or made durable, or a line of SQL that
decides what counts. It is marked there with its name (marks.py). The tests are arguments for pytest, or the name of an
attack of this folder.
"""

from __future__ import annotations

from dataclasses import dataclass

from faults.marks import Change, always, drop, instead, never, replace


@dataclass(frozen=True)
class Safeguard:
    """The name of a safeguard, how to take it away, and what notices."""

    name: str
    change: Change
    noticed_by: tuple[str, ...]


WRITING = ("tests/unit/core/test_durability.py",)
LOCKING = ("tests/unit/core/test_durable_files.py", "tests/unit/core/test_lock_of_a_home.py")
KILLED = ("tests/faults/test_killed.py",)
CUBE = ("tests/spec/test_cube.py",)
OLD_DAYS = ("tests/spec/test_age.py",)
BASE = ("tests/spec/test_base_and_delta.py",)
STORED = ("tests/unit/lake/test_derive.py",)
PUBLISHED = ("tests/unit/snapshots/test_publish.py",)
SNAPSHOT_FILES = ("tests/unit/snapshots/test_manifest.py",)
LISTS = ("tests/unit/snapshots/test_landed_list.py",)
LISTS_IN_BUCKETS = ("tests/remote/test_landed_lists.py",)
UNCHANGED = ("tests/unit/jobs/test_unchanged_nights.py",)
KEPT_WAREHOUSES = ("tests/spec/test_kept_warehouses.py",)
FORGETTING = ("tests/spec/test_forgetting.py",)
REWRITING = ("tests/unit/landing/test_rewrite.py",)
SHARED_FOLDERS = ("tests/spec/test_shared_folders.py",)
HOME_MODES = ("tests/spec/test_home_modes.py",)
RETENTION = ("tests/spec/test_retention.py",)
MANY_IDS = ("tests/property/test_id_matchers.py",)
ID_SEARCH = ("tests/unit/jobs/test_id_search.py",)
BUCKET = ("tests/remote/test_home.py",)
REPLICA = ("tests/remote/test_replica.py",)
LANDED_FILES = ("tests/unit/landing/test_landing_files.py", "tests/unit/raw/test_ingest.py")
QUARANTINED = ("tests/unit/raw/test_quarantine.py",)
PACK_PARTS = ("tests/unit/raw/test_pack_parts.py",)
PASSED_OVER = ("tests/unit/raw/test_passed_over.py",)
INDEX_CACHE = ("tests/unit/raw/test_index_cache.py",)
MAPPED = ("tests/spec/test_mapping.py",)
UNREADABLE = ("tests/spec/test_unreadable.py",)
HIDING = ("tests/spec/test_hiding_places.py",)
KINDS = ("tests/spec/test_kinds_of_files.py",)
QUOTED = ("tests/unit/landing/test_csv_quotes.py",)
DECODED = ("tests/unit/landing/test_json_columns.py",)
LANDED_VALUES = ("tests/unit/landing/test_landing_values.py", "tests/unit/landing/test_landing_records.py")
TOKENS = ("tests/contract/test_auth.py", "tests/contract/test_remembered_tokens.py")
KEY_SETS = ("tests/contract/test_keys.py",)
LIMITED = ("tests/contract/test_limits.py",)
REPORTED = ("tests/spec/test_report.py",)
NOTIFIED = ("tests/unit/jobs/test_notify.py",)
EXPLAINED = ("tests/contract/test_explanation.py",)
PREPARED = ("tests/contract/test_preparation.py",)
SMALL = ("tests/spec/test_min_cell.py",)
STALLS = ("tests/remote/test_stalls.py",)
PREFECT_FAILS = ("tests/e2e/test_prefect_fails.py",)
SIGTERM = ("tests/e2e/test_sigterm.py",)
ASKED = ("tests/spec/test_any_question.py",)


def _a_day_less(days: str) -> Change:
    return replace(days, f"{days} - 1")


SAFEGUARDS = (
    # --- durable, whole, one at a time
    Safeguard("file-fsynced-before-its-name", drop, WRITING),
    Safeguard("folder-fsynced-after-a-name", drop, WRITING),
    Safeguard("files-of-a-folder-fsynced", drop, WRITING),
    Safeguard(
        "small-files-renamed",
        instead("final.parent.mkdir(parents=True, exist_ok=True)\nfinal.write_bytes(content)\nfsync(final)"),
        WRITING,
    ),
    Safeguard("derived-file-fsynced", drop, WRITING),
    Safeguard("one-run-holds-the-lock", never, LOCKING),
    Safeguard("folder-of-the-home-locked", replace("how | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB"), LOCKING),
    Safeguard("made-for-the-owner-alone", replace("0o077", "0o022"), HOME_MODES),
    Safeguard("existing-home-narrowed", drop, HOME_MODES),
    Safeguard("nothing-stays-of-an-explanation", drop, EXPLAINED),
    Safeguard("older-lock-respected", never, LOCKING),
    Safeguard("leftovers-swept", drop, KILLED),
    Safeguard("what-could-not-be-removed-is-swept", drop, LOCKING),
    Safeguard("metrics-leftovers-swept", drop, ("tests/unit/jobs/test_run_metrics.py",)),
    # --- known to be what was written
    Safeguard("file-compared-with-sha256", replace("sha256_of(fetched(path))", "sha256"), (*STORED, *SNAPSHOT_FILES)),
    Safeguard("bytes-compared-with-sha256", replace("hashlib.sha256(content).hexdigest()", "sha256"), SNAPSHOT_FILES),
    Safeguard("json-compared-with-checksum", never, (*STORED, *SNAPSHOT_FILES)),
    Safeguard(
        "pack-stays-until-all-of-it-is-read-again",
        replace("keys <= {raw.key for raw in indexes(settings, on_damage=lambda _: None)}", "True"),
        QUARANTINED,
    ),
    Safeguard(
        "part-of-a-pack-is-not-the-pack", replace("folder.is_whole", "True"), ("tests/unit/raw/test_pack_parts.py",)
    ),
    Safeguard("mapped-bytes-are-looked-at", instead("mapped: set[str] = set()"), PASSED_OVER),
    Safeguard("unreadable-is-looked-at", instead("readable = parsed.union(raw.key for raw in new)"), PASSED_OVER),
    Safeguard("what-is-passed-over-replaces", replace("blocks.has_name(each.landed_name)", "False"), PASSED_OVER),
    Safeguard("pack-that-is-made-again-counts-once", instead("is_read_once = True"), PASSED_OVER),
    Safeguard("earlier-reading-is-not-current", instead("return True"), PASSED_OVER),
    Safeguard("index-that-was-written-is-parsed", replace("stamp_then != stamp", "False"), PASSED_OVER),
    Safeguard("index-damaged-unnoticed-is-parsed-by-the-next-run", drop, INDEX_CACHE),
    Safeguard("cache-of-indexes-compared-with-checksum", never, INDEX_CACHE),
    Safeguard("settled-while-raw-stays-as-it-was", instead("is_same = True"), PASSED_OVER),
    Safeguard("settled-by-the-stamp-that-was-read", instead("return True"), PASSED_OVER),
    Safeguard("block-named-by-stamps", replace("found.st_ctime_ns", "0"), PASSED_OVER),
    Safeguard("mapped-files-are-looked-at", instead("is_looked_at = False"), PASSED_OVER),
    Safeguard(
        "texts-read-whole-or-not-at-all",
        drop,
        ("tests/property/test_acceptance.py",),
    ),
    Safeguard(
        "key-holds-what-landed-not-what-shares-a-folder",
        replace("stored.landed_digests or (stored.digest,)", "(stored.digest,)"),
        STORED,
    ),
    Safeguard("seen-cache-compared-with-checksum", never, ("tests/unit/raw/test_ingest.py",)),
    Safeguard(
        "derived-file-verified-before-use",
        replace("[stored for stored in files if stored.path not in self._checked]", "[]"),
        STORED,
    ),
    Safeguard("rebuilt-file-has-the-same-rows", never, STORED),
    Safeguard("nothing-is-found-by-what-is-missing", replace("any(map(_is_missing, inputs))", "False"), BASE),
    Safeguard("fold-reads-what-the-last-one-lacks", instead("return {models.EARLIER + model: [known], raw: []}"), BASE),
    Safeguard("erased-keys-are-worked-out-again", replace("semi join", "anti join"), BASE),
    Safeguard("changed-keys-are-not-of-the-base", replace("anti join", "semi join"), BASE),
    Safeguard("erased-versions-do-not-count", replace("not is_erased and ", ""), BASE),
    Safeguard("key-holds-digests-of-inputs", drop, STORED),
    Safeguard("shared-warehouse-verified", replace("other.verified(path.name)", "other.path / path.name"), UNCHANGED),
    Safeguard("warehouse-shared-for-the-same-rows", instead("is_same = bool(known)"), UNCHANGED),
    Safeguard("current-keeps-its-warehouse", instead("kept = listed[-keep:]"), KEPT_WAREHOUSES),
    Safeguard("warehouse-stays-beside-damaged-files", replace("_can_be_made_again(one)", "True"), KEPT_WAREHOUSES),
    Safeguard("warehouse-made-of-checked-files", drop, KEPT_WAREHOUSES),
    Safeguard("what-becomes-current-has-a-warehouse", drop, KEPT_WAREHOUSES),
    Safeguard("section-kept-for-the-same-inputs", instead("is_same = bool(self._last)"), UNCHANGED),
    # --- a file rests on its own step, and on all of it
    Safeguard("days-that-read-others-are-built-alone", instead("is_alone = False"), ("tests/spec/test_holes.py",)),
    Safeguard("repeats-within-their-reach", drop, ("tests/property/test_each_alone.py",)),
    Safeguard("gap-reaches-the-longest-range", _a_day_less("policy.max_window_days"), CUBE),
    Safeguard(
        "horizon-reaches-every-gap", replace("2 * policy.max_window_days + 1", "2 * policy.max_window_days"), CUBE
    ),
    Safeguard("versions-as-far-as-they-reach", _a_day_less("revision_days"), ("tests/spec/test_revisions.py",)),
    Safeguard("near-days-are-whole-months", replace("counted[0].replace(day=1)", "counted[0]"), OLD_DAYS),
    Safeguard("sum-of-a-month-holds-its-reach", _a_day_less("policy.revision_days"), OLD_DAYS),
    Safeguard("sum-of-a-month-holds-who-is-erased", replace("erased", "[]"), OLD_DAYS),
    Safeguard("sum-of-a-year-holds-who-is-erased", instead("erased = []"), OLD_DAYS),
    Safeguard("manifest-compared-with-pointer", never, SNAPSHOT_FILES),
    Safeguard("manifest-compared-with-name", never, SNAPSHOT_FILES),
    Safeguard("verify-finds-strange-files", replace("path.is_file() and path not in known", "False"), SNAPSHOT_FILES),
    Safeguard("rollback-to-a-whole-snapshot", drop, SNAPSHOT_FILES),
    Safeguard("verify-reads-the-list-of-landed-files", never, LISTS),
    Safeguard(
        "damaged-part-of-a-list-is-not-taken-over",
        replace("not landed_list.part_damage(self._snapshots, same)", "same"),
        LISTS,
    ),
    Safeguard("names-are-those-of-raw", always, FORGETTING),
    Safeguard("lists-that-are-named-stay", drop, LISTS),
    Safeguard("list-of-the-pointer-stays", drop, LISTS),
    Safeguard("lists-of-landed-files-looked-into", never, FORGETTING),
    Safeguard("lists-go-up-before-what-names-them", replace("_stages(lists)", "()"), LISTS_IN_BUCKETS),
    Safeguard(
        "pointer-moves-to-lists-that-are-there",
        replace("needed - self._objects.listed(LISTS.rstrip('/')).keys()", "set()"),
        LISTS_IN_BUCKETS,
    ),
    # --- publishing
    Safeguard("no-erasure-is-lost", never, ("tests/spec/test_lost_records.py",)),
    Safeguard("gate-of-rejected-records", never, ("tests/spec/test_refusals.py",)),
    Safeguard("gate-of-unreadable-files", instead("found: list[RawFile] = []"), UNREADABLE),
    Safeguard("gate-of-missing-records", drop, (*PUBLISHED, *STORED)),
    Safeguard("gate-of-the-last-day", drop, ("tests/spec/test_refusals.py",)),
    Safeguard(
        "lone-day-is-no-beginning",
        replace("next(begun, days[0] if days else None)", "days[0] if days else None"),
        ("tests/spec/test_last_day.py",),
    ),
    Safeguard("signals-judged-day-by-day", drop, ("tests/spec/test_signals.py",)),
    Safeguard("gate-of-renamed-fields", drop, ("tests/spec/test_signals.py",)),
    Safeguard("gate-of-signals-that-are-gone", drop, ("tests/spec/test_signals.py",)),
    Safeguard(
        "no-stream-of-a-banned-creator",
        replace("is_shown", 'pc.equal(live_streams["status"], "scheduled")'),
        ("tests/contract/test_funded.py",),
    ),
    Safeguard("old-data-is-not-ready", never, ("tests/contract/test_missing_days.py",)),
    Safeguard("gate-of-the-future", never, ("tests/spec/test_future.py",)),
    Safeguard("pointer-moves-before-removal", drop, ("tests/spec/test_future.py",)),
    Safeguard("viewers-that-vanish-noticed", never, ("tests/spec/test_shrunk_days.py",)),
    Safeguard("gate-of-days-that-shrank", drop, ("tests/spec/test_shrunk_days.py",)),
    Safeguard("gate-of-checks", replace("result.offenders and result.check.fails", "False"), PUBLISHED),
    Safeguard("books-balance", never, PUBLISHED),
    Safeguard("snapshot-read-back", never, PUBLISHED),
    Safeguard(
        "pointer-moves-forward", replace("pointer.as_of > built.as_of", "False"), ("tests/spec/test_snapshots.py",)
    ),
    Safeguard("rollback-stays", replace("pointer.pinned", "False"), ("tests/spec/test_snapshots.py",)),
    Safeguard(
        "prune-keeps-the-current", replace("{pointer.snapshot_id} if pointer else set()", "set()"), SNAPSHOT_FILES
    ),
    Safeguard("prune-takes-a-snapshot-whole", instead("shutil.rmtree(snapshots / name)\nleftover.mkdir()"), WRITING),
    # --- forgetting, and old days
    Safeguard("forgotten-stay-out", replace("register.without_forgotten(entity, read)", "read"), FORGETTING),
    Safeguard(
        "days-of-newer-versions-kept",
        replace("plan.input_days(as_of, policy).first_day", "plan.first_input_day(as_of, policy)"),
        RETENTION,
    ),
    Safeguard("derived-of-forgotten-removed", drop, FORGETTING),
    Safeguard("forgotten-once-nothing-remains", replace("not done.remaining", "True"), FORGETTING),
    Safeguard("register-of-forgotten-needed", always, FORGETTING),
    Safeguard("landed-files-looked-at-again", replace("2 if is_to_be_emptied else 1", "1"), REWRITING),
    Safeguard("landed-files-emptied-where-asked", never, SHARED_FOLDERS),
    Safeguard("landed-file-still-the-one-read", drop, REWRITING),
    Safeguard("landed-file-was-the-one-replaced", never, REWRITING),
    Safeguard("kept-file-runs-as-nobody", replace("0o777", "0o7777"), REWRITING),
    Safeguard("built-where-nobody-else-writes", never, ("tests/unit/core/test_writing_in_shared_folders.py",)),
    Safeguard("id-search-across-pieces", instead('seen, waiting, size, decided = b"", [], 0, 0'), ID_SEARCH),
    Safeguard("base64-across-pieces", instead("is_whole = True"), ("tests/property/test_id_matchers.py",)),
    Safeguard(
        "encoded-words-looked-at-whole",
        instead("word = end = start = len(seen)"),
        ("tests/property/test_hidden_ids.py",),
    ),
    Safeguard("ids-sought-as-csv-escapes-them", drop, ("tests/spec/test_forgetting_mapped.py",)),
    Safeguard("odd-ids-always-looked-for-in-csv", instead("odd = set()"), ("tests/spec/test_forgetting_mapped.py",)),
    Safeguard("mentions-across-pieces", instead("is_decided = True"), ("tests/property/test_hidden_ids.py",)),
    Safeguard("replica-spares-a-run", replace("durable_files.lock_home(self._home)", "nullcontext()"), REPLICA),
    Safeguard("reader-spares-the-pointer-of-a-run", always, BUCKET),
    Safeguard("removed-days-refused", never, RETENTION),
    # --- what lands
    Safeguard("changing-file-waits", never, LANDED_FILES),
    Safeguard(
        "no-link-listed",
        replace("entry.is_file(follow_symlinks=False)", "entry.is_file(follow_symlinks=True)"),
        LANDED_FILES,
    ),
    Safeguard(
        "no-link-opened", replace("flags | os.O_NOFOLLOW | os.O_NONBLOCK", "flags | os.O_NONBLOCK"), LANDED_FILES
    ),
    Safeguard("regular-files-only", never, LANDED_FILES),
    Safeguard("archive-of-nothing-refused", never, ("tests/unit/landing/test_landing_archives.py",)),
    Safeguard("cut-archive-is-damaged", never, LANDED_FILES),
    Safeguard("header-needs-its-fields", never, UNREADABLE),
    Safeguard("folder-fields-are-part-of-the-key", instead("return how"), MAPPED),
    Safeguard("folder-and-record-agree", never, MAPPED),
    Safeguard("superseded-mapping-does-not-count", drop, MAPPED),
    Safeguard("local-time-is-not-guessed", never, MAPPED),
    Safeguard("instants-of-parquet-in-range", never, ("tests/property/test_one_rule_of_types.py",)),
    Safeguard("backslash-is-not-guessed", never, MAPPED),
    Safeguard("unknown-escape-rejected", never, MAPPED),
    Safeguard("rewritten-id-rejected", instead("return value"), ("tests/spec/test_types.py",)),
    Safeguard("null-as-text-is-nobody", never, LANDED_VALUES),
    Safeguard("first-mapping-is-claimed", never, MAPPED),
    Safeguard("only-erasures-erase", never, ("tests/spec/test_erasures.py",)),
    Safeguard("rounded-ids-are-nobody", drop, LANDED_VALUES),
    Safeguard("zeros-are-unreadable", never, UNREADABLE),
    Safeguard("page-of-an-error-is-unreadable", never, UNREADABLE),
    Safeguard("several-records-are-unreadable", never, UNREADABLE),
    Safeguard("columns-are-unreadable", never, UNREADABLE),
    Safeguard("white-space-is-unreadable", never, UNREADABLE),
    Safeguard("another-encoding-is-unreadable", never, UNREADABLE),
    Safeguard("array-that-does-not-end", never, UNREADABLE),
    Safeguard("array-goes-on", drop, ("tests/unit/landing/test_landing_objects.py",)),
    Safeguard("no-text-is-unreadable", never, KINDS),
    Safeguard("other-header-ends-the-file", never, KINDS),
    Safeguard("header-again-is-no-record", never, UNREADABLE),
    Safeguard("swallowed-records-are-counted", never, KINDS),
    Safeguard("page-checksums-are-verified", replace("True", "False"), KINDS),
    Safeguard("shared-beginnings-are-bounded", never, ("tests/unit/landing/test_landing_bombs.py",)),
    Safeguard("bad-lines-not-read-on", never, ("tests/unit/landing/test_landing_objects.py",)),
    Safeguard("stray-files-are-wrong-usage", always, UNREADABLE),
    Safeguard("unreadable-files-looked-into", never, UNREADABLE),
    Safeguard("what-is-not-looked-into-is-named", never, ID_SEARCH),
    Safeguard("what-is-no-text-is-named", never, HIDING),
    Safeguard("search-in-bombs-is-bounded", never, HIDING),
    Safeguard("many-ids-sought-in-escapes", never, MANY_IDS),
    Safeguard("many-ids-sought-in-every-spelling", instead("return frozenset([_plain_spelling(user)])"), MANY_IDS),
    Safeguard("fresh-stamp-not-trusted", always, ("tests/unit/raw/test_ingest.py",)),
    Safeguard("key-given-twice-rejected", never, LANDED_VALUES),
    Safeguard("half-surrogate-rejected", never, LANDED_VALUES),
    Safeguard("nesting-limited", never, LANDED_VALUES),
    Safeguard("long-number-rejected", never, LANDED_VALUES),
    Safeguard("instant-needs-an-offset", never, LANDED_VALUES),
    Safeguard("money-has-two-decimals", never, LANDED_VALUES),
    Safeguard("session-ends-after-its-start", never, LANDED_VALUES),
    Safeguard("refund-within-its-pledge", never, LANDED_VALUES),
    Safeguard("quotes-around-whole-cells", never, QUOTED),
    Safeguard("quoted-cells-hold-no-separator", never, QUOTED),
    Safeguard("same-rows-in-one-part", replace("of_small & large.keys()", "()"), ("tests/unit/lake/test_derive.py",)),
    Safeguard("decoded-line-is-what-was-written", always, DECODED),
    Safeguard("decoded-lines-are-what-was-written", always, DECODED),
    Safeguard("decoded-spaced-lines-are-what-was-written", always, DECODED),
    Safeguard("decoded-depth-limited", instead("return False"), DECODED),
    Safeguard("decoded-number-limited", instead("return False"), DECODED),
    Safeguard(
        "common-form-is-what-was-written",
        replace("pc.equal(array, lines)", "pc.equal(array, array)"),
        ("tests/unit/landing/test_common_form.py",),
    ),
    # --- what counts
    Safeguard(
        "session-counts-once",
        replace("anti join", "left join"),
        ("tests/spec/test_arrival.py", "tests/spec/test_revisions.py"),
    ),
    Safeguard(
        "sources-apart", replace("source, ", ""), ("tests/spec/test_revisions.py", "tests/property/test_three_ways.py")
    ),
    Safeguard("moved-session-leaves-its-day", replace("is_newest", "true"), ("tests/spec/test_revisions.py",)),
    Safeguard("deleted-session-retracted", drop, ("tests/spec/test_revisions.py",)),
    Safeguard("erased-viewer-not-counted", drop, ("tests/spec/test_erasures.py",)),
    Safeguard("unlisted-creators-not-ranked", replace("anti join", "left join"), ("tests/spec/test_creators.py",)),
    Safeguard(
        "viewer-counts-once",
        replace("r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day)", "true"),
        ("tests/spec/test_cube.py",),
    ),
    # --- tokens
    Safeguard("token-expires", never, TOKENS),
    Safeguard("token-has-an-end", replace("claims.get(name)", "claims.setdefault(name, 1 << 40)"), TOKENS),
    Safeguard("token-not-before", never, TOKENS),
    Safeguard("token-signature", drop, TOKENS),
    Safeguard("token-without-critical-extensions", never, TOKENS),
    Safeguard("no-keys-yet-is-no-refusal", never, KEY_SETS),
    Safeguard("token-canonical", never, TOKENS),
    Safeguard("token-claims-once", never, TOKENS),
    Safeguard("one-authorization-header", replace("len(authorization) != 1", "not authorization"), TOKENS),
    Safeguard("token-size", never, TOKENS),
    Safeguard("token-audience", never, TOKENS),
    Safeguard("token-for-somebody-else", never, TOKENS),
    Safeguard(
        "spark-secrets-in-no-argument",
        replace("_SECRET_NAME.search(name)", "None"),
        ("tests/spark/test_java.py",),
    ),
    Safeguard("register-needs-its-key", never, FORGETTING),
    Safeguard("no-server-of-our-own", never, ("tests/e2e/test_no_server.py",)),
    Safeguard("prefect-fails-no-run", replace("reporter.close(wait_seconds)", "reporter.close(0)"), PREFECT_FAILS),
    Safeguard("prefect-has-limited-time", drop, PREFECT_FAILS),
    Safeguard(
        "killed-run-crashed-in-prefect",
        replace(
            'Crashed(message="The run was killed: its process told of no end.")',
            'Failed(message="The run was killed: its process told of no end.")',
        ),
        PREFECT_FAILS,
    ),
    Safeguard("worker-may-die", drop, ("tests/e2e/test_flows_deploy.py",)),
    Safeguard("run-tried-again", replace("retried(attempt)", "attempt()"), ("tests/remote/test_blips.py",)),
    Safeguard("timed-out-put-tried-again", always, STALLS),
    Safeguard("bucket-that-ignores-conditions", never, STALLS),
    Safeguard("etag-without-quotes", never, STALLS),
    Safeguard(
        "buckets-looked-through",
        replace("remote.landed_copies(settings, url, folder, PERSON)", "()"),
        ("tests/remote/test_around.py",),
    ),
    Safeguard("sigterm-handled", drop, SIGTERM),
    Safeguard("query-interrupted", drop, SIGTERM),
    Safeguard(
        "lost-signal-repeated",
        drop,
        ("tests/unit/core/test_termination.py",),
    ),
    Safeguard("interrupt-restored", replace("_INTERRUPTED.search(str(error))", "None"), SIGTERM),
    Safeguard(
        "exit-code-is-no-reason",
        replace('f"The process was told to end ({type(error).__name__})."', "str(error)"),
        ("tests/unit/core/test_termination.py",),
    ),
    Safeguard("terminated-run-notifies", replace("BaseException", "Exception"), SIGTERM),
    Safeguard(
        "remembered-token-expires",
        replace("known is not None and known.not_before_ms <= now_ms < known.expires_ms", "known is not None"),
        TOKENS,
    ),
    Safeguard("remembered-token-falls-with-its-key", always, TOKENS),
    Safeguard("key-of-its-algorithm", replace("algorithm in key.algorithms", "True"), (*TOKENS, *KEY_SETS)),
    Safeguard("no-symmetric-key-of-a-url", never, KEY_SETS),
    Safeguard("short-rsa-key-left-out", never, KEY_SETS),
    Safeguard("two-keys-of-one-name-left-out", never, KEY_SETS),
    Safeguard("jwks-fetched-seldom", never, KEY_SETS),
    Safeguard("redirect-within-the-scheme", never, KEY_SETS),
    # --- callers
    Safeguard(
        "own-streams-alone",
        replace("self.callers.of(user_id)", "self.callers.positions.tolist()"),
        ("tests/contract/test_funded.py",),
    ),
    Safeguard(
        "recording-not-for-everybody",
        replace('status in ("owner", "rented")', "True"),
        ("tests/contract/test_funded.py",),
    ),
    Safeguard("prepared-for-strangers", replace("rental is None", "True"), ("tests/contract/test_funded.py",)),
    Safeguard(
        "with-a-token-private",
        replace("PRIVATE", "PUBLIC"),
        ("tests/contract/test_ranking.py", "tests/contract/test_auth.py"),
    ),
    Safeguard("operators-alone", never, EXPLAINED),
    Safeguard("explanations-do-not-queue", never, EXPLAINED),
    Safeguard("abandoned-explanation-ended", drop, EXPLAINED),
    Safeguard(
        "home-is-no-pattern",
        replace("[letter for letter in _NOT_IN_A_HOME if letter in str(home)]", "[]"),
        ("tests/unit/core/test_settings.py",),
    ),
    Safeguard(
        "explanation-ends-in-time",
        replace("asyncio.wait_for(child.communicate(creator_id), self._seconds)", "child.communicate(creator_id)"),
        EXPLAINED,
    ),
    Safeguard("wrong-token-is-not-anonymous", instead("try:\n    {}\nexcept Refused:\n    user_id = None"), TOKENS),
    # --- limits
    Safeguard("every-limit-counts", replace("all", "any"), LIMITED),
    Safeguard("instant-counts-in-its-window", replace("now - limit.window", "now - limit.window + SECOND"), LIMITED),
    Safeguard("forwarded-by-trusted-proxies", never, LIMITED),
    Safeguard("ipv4-in-ipv6-is-one-client", replace("mapped or address", "address"), LIMITED),
    # --- any range of days, and the page
    Safeguard("viewer-of-a-range-counts-once", replace('"right"', '"left"'), ("tests/spec/test_ranges_of_the_api.py",)),
    Safeguard("range-within-the-snapshot", never, ("tests/contract/test_range_endpoints.py",)),
    Safeguard(
        "unlisted-creators-in-no-range",
        replace("(reach.sessions > 0) & self._is_listed", "reach.sessions > 0"),
        ("tests/spec/test_ranges_of_the_api.py",),
    ),
    Safeguard("small-audiences-in-no-range", drop, SMALL),
    Safeguard("small-audiences-not-shown", replace("viewers >= $min_cell", "true"), SMALL),
    Safeguard("cube-with-small-cells-is-private", instead('return "creator_reach/"'), SMALL),
    Safeguard("no-difference-of-ranges", never, SMALL),
    Safeguard("no-difference-of-asked-ranges", never, SMALL),
    Safeguard(
        "unlisted-creator-has-no-page",
        replace("not self._is_listed[creator]", "False"),
        ("tests/spec/test_ranges_of_the_api.py",),
    ),
    Safeguard(
        "name-is-text-on-a-page",
        replace("True", "False", at=0),
        ("tests/property/test_hostile_texts.py",),
    ),
    Safeguard(
        "page-without-control-characters",
        replace('_CONTROLS.sub("\\N{REPLACEMENT CHARACTER}", html)', "html"),
        ("tests/contract/test_pages.py",),
    ),
    Safeguard(
        "day-of-the-cube-verified",
        replace(
            "snapshot.table(name)",
            '__import__("pyarrow.parquet").parquet.read_table(snapshot.path / name, partitioning=None)',
        ),
        ("tests/contract/test_range_endpoints.py",),
    ),
    # --- serving
    Safeguard("long-answers-take-turns", drop, ("tests/contract/test_long_answers.py",)),
    Safeguard(
        "long-answers-made-aside",
        replace("await self._made_once.of((serving, *key), make, keep)", "make()"),
        ("tests/contract/test_long_answers.py",),
    ),
    Safeguard("half-taken-answer-ended", drop, ("tests/contract/test_long_answers.py",)),
    Safeguard("no-green-light-over-old-data", never, ("tests/contract/test_pages.py",)),
    Safeguard("removed-snapshot-answers-no-more", drop, ("tests/contract/test_pinned_snapshots.py",)),
    Safeguard("snapshot-before-found-again", never, ("tests/contract/test_workers.py",)),
    Safeguard("share-of-a-client", never, ("tests/contract/test_fairness.py",)),
    Safeguard("lanes-take-turns", drop, ("tests/contract/test_fairness.py",)),
    Safeguard("hangup-leaves-workers-alone", drop, ("tests/contract/test_workers.py",)),
    Safeguard("worker-ends-with-its-supervisor", never, ("tests/contract/test_workers.py",)),
    Safeguard("starting-worker-left-alone", drop, ("tests/contract/test_workers.py",)),
    Safeguard("deaths-in-a-row-wait", instead("wait = 0.0"), ("tests/contract/test_workers.py",)),
    Safeguard("hangup-drains", replace("(signal.SIGHUP, signal.SIGTERM)", "()"), ("tests/contract/test_workers.py",)),
    Safeguard("dead-socket-alone-replaced", drop, ("tests/contract/test_proxies.py",)),
    Safeguard("listed-origins-alone", replace("origin in self._origins", "True"), ("tests/contract/test_cors.py",)),
    Safeguard("snapshot-prepared-once", replace("self._locked(part)", "suppress()"), PREPARED),
    Safeguard("prepared-files-removed", never, PREPARED),
    Safeguard("lost-folder-made-again", drop, PREPARED),
    Safeguard("scratch-of-nobody-else", drop, PREPARED),
    Safeguard("shown-figures-saved", drop, ("tests/contract/test_metrics.py",)),
    Safeguard(
        "failed-load-replaces-nothing", instead("self.serving = None\n{}"), ("tests/contract/test_snapshot_watcher.py",)
    ),
    # --- what a run tells
    Safeguard("rejected-line-masked", replace('"".join(map(_mask, text))', "text"), REPORTED),
    Safeguard("text-escaped-in-a-report", replace("escape(printable(text))", "Markup(text)"), REPORTED),
    Safeguard(
        "text-is-no-markdown-in-a-report",
        replace('_SPECIAL.sub(r"\\\\\\1", printable(text))', "printable(text)"),
        REPORTED,
    ),
    Safeguard("changed-report-not-shown", instead('facts.pop("seal", None)'), REPORTED),
    Safeguard("failed-report-stops-no-run", replace("Exception", "ZeroDivisionError"), REPORTED),
    Safeguard("unwritten-report-stops-no-run", replace("Exception", "ZeroDivisionError"), REPORTED),
    Safeguard(
        "redirect-of-a-webhook",
        replace(
            "http_client.request(method, url, body=body, content_type=content_type, seconds=ATTEMPT_SECONDS)",
            "http_client.request(method, url, body=body, content_type=content_type, seconds=ATTEMPT_SECONDS, "
            "redirects=1)",
        ),
        NOTIFIED,
    ),
    Safeguard(
        "hung-command-ended-whole", replace("os.killpg(process.pid, signal.SIGKILL)", "process.kill()"), NOTIFIED
    ),
    Safeguard("password-not-logged", replace("_SECRETS.sub(_hidden, text)", "text"), ("tests/unit/core/test_logs.py",)),
    Safeguard(
        "secret-setting-not-shown", replace("setting in _SECRET", "False"), ("tests/unit/core/test_settings.py",)
    ),
    Safeguard("executor-of-another-program", never, ("tests/unit/lake/test_spark_tasks.py",)),
    Safeguard("damaged-warehouse-not-asked", drop, ASKED),
    Safeguard(
        "question-changes-nothing",
        replace('f"attach {literal(str(path))} as {name} (read_only)"', 'f"attach {literal(str(path))} as {name}"'),
        ASKED,
    ),
)
