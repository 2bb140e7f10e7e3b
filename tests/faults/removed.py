"""The safeguards of the system, each with a change that takes it away and the tests that must then fail.

A safeguard is a place in the code where something is refused, checked or made durable. `before` stands there exactly
once and is replaced by `after`. The tests are arguments for pytest, or the name of an attack of this folder.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Safeguard:
    """One safeguard, how to take it away, and what notices."""

    name: str
    path: str
    before: str
    after: str
    noticed_by: tuple[str, ...]


STORE = "pipelines/core/durable_files.py"
SNAPSHOTS = "pipelines/snapshots/manifest.py"
PUBLISH = "pipelines/snapshots/publish.py"
LAKE = "pipelines/lake/derive.py"
INGEST = "pipelines/raw/ingest.py"
SEEN_CACHE = "pipelines/raw/seen_cache.py"
FILES = "pipelines/landing/files.py"
RECORDS = "pipelines/landing/records.py"
VALUES = "pipelines/landing/values.py"
AUTH = "pipelines/api/tokens.py"
KEYS = "pipelines/api/keys.py"
LIMITS = "pipelines/api/limits.py"
CLIENTS = "pipelines/api/clients.py"
ENDPOINTS = "pipelines/api/endpoints.py"
FUNDED = "pipelines/api/funded.py"
OPERATORS = "pipelines/api/operators.py"
EXPLANATIONS = "pipelines/api/explanations.py"
RANGE_QUERY = "pipelines/snapshots/range_query.py"
NOTIFY = "pipelines/jobs/notify.py"
RUN_LIFECYCLE = "pipelines/jobs/run_lifecycle.py"
SAMPLES = "pipelines/jobs/report/samples.py"

WRITING = ("tests/unit/core/test_durability.py",)
LOCKING = ("tests/unit/core/test_durable_files.py",)
KILLED = ("tests/faults/test_killed.py",)
STORED = ("tests/unit/lake/test_derive.py",)
PUBLISHED = ("tests/unit/snapshots/test_publish.py",)
SNAPSHOT_FILES = ("tests/unit/snapshots/test_manifest.py",)
FORGETTING = ("tests/spec/test_forgetting.py",)
RETENTION = ("tests/spec/test_retention.py",)
ID_SEARCH = ("tests/unit/jobs/test_id_search.py",)
BUCKET = ("tests/remote/test_home.py",)
REPLICA = ("tests/remote/test_replica.py",)
LANDED_FILES = ("tests/unit/landing/test_landing_files.py", "tests/unit/raw/test_ingest.py")
LANDED_VALUES = ("tests/unit/landing/test_landing_values.py", "tests/unit/landing/test_landing_records.py")
TOKENS = ("tests/contract/test_auth.py", "tests/contract/test_remembered_tokens.py")
KEY_SETS = ("tests/contract/test_keys.py",)
LIMITED = ("tests/contract/test_limits.py",)
REPORTED = ("tests/spec/test_report.py",)
NOTIFIED = ("tests/unit/jobs/test_notify.py",)
EXPLAINED = ("tests/contract/test_explanation.py",)
ASKED = ("tests/spec/test_any_question.py",)

SAFEGUARDS = (
    # --- durable, whole, one at a time
    Safeguard(
        "a file's content is fsynced before it gets its name",
        STORE,
        "        yield temporary\n        fsync(temporary)\n        temporary.rename(final)",
        "        yield temporary\n        temporary.rename(final)",
        WRITING,
    ),
    Safeguard(
        "the folder is fsynced after a file got its name",
        STORE,
        "        temporary.rename(final)\n        fsync(final.parent)\n    finally:\n        temporary.unlink",
        "        temporary.rename(final)\n    finally:\n        temporary.unlink",
        WRITING,
    ),
    Safeguard(
        "the files of a folder are fsynced before it gets its name",
        STORE,
        '        for path in sorted(temporary.rglob("*"), reverse=True):\n            fsync(path)\n',
        "",
        WRITING,
    ),
    Safeguard(
        "small files are written beside their name and renamed",
        STORE,
        "    with new_file(final) as temporary:\n        temporary.write_bytes(content)",
        "    final.parent.mkdir(parents=True, exist_ok=True)\n    final.write_bytes(content)\n    fsync(final)",
        WRITING,
    ),
    Safeguard(
        "a derived file is fsynced before its sidecar says that it exists",
        LAKE,
        "                durable_files.fsync(temporary[step.day])\n",
        "",
        WRITING,
    ),
    Safeguard(
        "one run at a time holds the lock",
        STORE,
        '    """Lock both, alone or with others as `how` says, or neither."""\n',
        '    """Lock both, alone or with others as `how` says, or neither."""\n    return True\n',
        LOCKING,
    ),
    Safeguard(
        "the home's folder is locked as well as a file in it",
        STORE,
        "        fcntl.flock(folder, how | fcntl.LOCK_NB)",
        "        fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        LOCKING,
    ),
    Safeguard(
        "what dead runs left half-written is swept",
        "pipelines/jobs/nightly.py",
        "            durable_files.sweep(folder)\n",
        "            pass\n",
        KILLED,
    ),
    # --- known to be what was written
    Safeguard(
        "a file is compared with its sha256",
        STORE,
        "        found = sha256_of(fetched(path))\n",
        "        found = sha256\n",
        (*STORED, *SNAPSHOT_FILES),
    ),
    Safeguard(
        "bytes are compared with their sha256 before they are parsed",
        STORE,
        "    found = hashlib.sha256(content).hexdigest()\n    if found != sha256:",
        "    found = sha256\n    if found != sha256:",
        SNAPSHOT_FILES,
    ),
    Safeguard(
        "a sidecar, an index, the pointer is compared with its checksum",
        STORE,
        '    if hashlib.sha256(whole).hexdigest() != end["seal"].decode():',
        "    if False:",
        (*STORED, *SNAPSHOT_FILES),
    ),
    Safeguard(
        "the cache of landed files is compared with its checksum",
        SEEN_CACHE,
        "if checksum != _checksum(files) + _END:",
        "if False:",
        ("tests/unit/raw/test_ingest.py",),
    ),
    Safeguard(
        "a derived file is checked before its first use in a run",
        LAKE,
        "        unchecked = [stored for stored in files if stored.path not in self._checked]",
        "        unchecked: list[Stored] = []",
        STORED,
    ),
    Safeguard(
        "a file that was built again must have the rows that it had",
        LAKE,
        "        if rebuilt.digest != stored.digest:",
        "        if False:",
        STORED,
    ),
    Safeguard(
        "the key of a derived file holds the digests of its inputs",
        LAKE,
        "            digest.update(part.encode())\n",
        "            digest.update(b'')\n",
        STORED,
    ),
    Safeguard(
        "the manifest is compared with the pointer's sha256",
        SNAPSHOTS,
        "    if manifest_sha256 is not None and found != manifest_sha256:",
        "    if False:",
        SNAPSHOT_FILES,
    ),
    Safeguard(
        "the manifest is compared with the snapshot's name",
        SNAPSHOTS,
        "    if not stated == derived == snapshot_id:",
        "    if False:",
        SNAPSHOT_FILES,
    ),
    Safeguard(
        "`snapshots verify` finds files that do not belong there",
        SNAPSHOTS,
        "if path.is_file() and path not in known)",
        "if path not in (known | {path}))",
        SNAPSHOT_FILES,
    ),
    Safeguard(
        "a rollback needs a whole snapshot",
        SNAPSHOTS,
        "    _require_whole(target)\n",
        "",
        SNAPSHOT_FILES,
    ),
    # --- publishing
    Safeguard(
        "too many rejected records refuse a publish",
        "pipelines/snapshots/gates.py",
        "        if count > settings.max_rejected_share * records[entity]:",
        "        if False:",
        ("tests/spec/test_refusals.py",),
    ),
    Safeguard(
        "records that are gone refuse a publish",
        PUBLISH,
        "        refusals += missing_inputs(landed_before, raw, erasure_register.read(settings))\n",
        "        pass\n",
        (*PUBLISHED, *STORED),
    ),
    Safeguard(
        "a last day that is not all there refuses a publish",
        PUBLISH,
        "        refusals += incomplete_last_day(totals, built.as_of, first_day_landed(raw))\n",
        "",
        ("tests/spec/test_refusals.py",),
    ),
    Safeguard(
        "a check that finds offenders refuses a publish",
        PUBLISH,
        " for result in results if result.offenders and result.check.fails]",
        " for result in results if False]",
        PUBLISHED,
    ),
    Safeguard(
        "the books must balance",
        PUBLISH,
        "    if sum(funnel[outcome] for outcome in FUNNEL) != accepted:",
        "    if False:",
        PUBLISHED,
    ),
    Safeguard(
        "what was written is read back before the pointer moves",
        PUBLISH,
        "        damage = snapshot.damage()\n        if damage:\n",
        "        damage = snapshot.damage()\n        if not damage and damage:\n",
        PUBLISHED,
    ),
    Safeguard(
        "the pointer does not move to an earlier as_of",
        PUBLISH,
        "(pointer.pinned or pointer.as_of > built.as_of)",
        "pointer.pinned",
        ("tests/spec/test_snapshots.py",),
    ),
    Safeguard(
        "a rollback stays until it is released",
        PUBLISH,
        "(pointer.pinned or pointer.as_of > built.as_of)",
        "pointer.as_of > built.as_of",
        ("tests/spec/test_snapshots.py",),
    ),
    Safeguard(
        "prune keeps the current snapshot",
        SNAPSHOTS,
        " | ({pointer.snapshot_id} if pointer else set())",
        "",
        SNAPSHOT_FILES,
    ),
    Safeguard(
        "prune takes a snapshot away whole",
        SNAPSHOTS,
        "        (snapshots / name).rename(leftover)\n",
        "        shutil.rmtree(snapshots / name)\n        leftover.mkdir()\n",
        WRITING,
    ),
    # --- forgetting, and old days
    Safeguard(
        "what lands later is read without those who were forgotten",
        INGEST,
        "            left = register.without_forgotten(file.entity, batch)\n",
        "            left = batch\n",
        FORGETTING,
    ),
    Safeguard(
        "days that may hold newer versions of what a snapshot rests on are kept",
        "pipelines/jobs/retention.py",
        "    return plan.input_days(as_of, policy).first_day\n",
        "    return plan.first_input_day(as_of, policy)\n",
        RETENTION,
    ),
    Safeguard(
        "derived files that were made of an id are removed",
        "pipelines/jobs/erase_user.py",
        "        done.lake_files, _ = prune.prune_derived(settings, lake, raw)\n",
        "",
        FORGETTING,
    ),
    Safeguard(
        "nobody is said to be forgotten while a file holds the id",
        "pipelines/jobs/erase_user.py",
        "    done.is_forgotten = not done.remaining\n",
        "    done.is_forgotten = True\n",
        FORGETTING,
    ),
    Safeguard(
        "a home that has forgotten somebody is not run without its register",
        "pipelines/raw/erasure_register.py",
        "        if not landing(settings):\n",
        "        if True:\n",
        FORGETTING,
    ),
    Safeguard(
        "a file is not judged by a part of it: an escape, or an id, may lie across two pieces",
        "pipelines/jobs/id_search.py",
        "seen, waiting, size, decided = seen[-kept:], [], 0, 1  # the first byte is there to be looked back at\n",
        'seen, waiting, size, decided = b"", [], 0, 0\n',
        ID_SEARCH,
    ),
    Safeguard(
        "the API's copy of a bucket lets go of nothing that a run at work has just published",
        "pipelines/remote/replica.py",
        'return durable_files.lock(self._home / ".lock")',
        "return nullcontext()",
        REPLICA,
    ),
    Safeguard(
        "who reads in the copy of a bucket's home leaves the pointer of a run at work in it",
        "pipelines/remote/mirror.py",
        "            if is_ours:\n                self._take_over_the_pointer()\n",
        "            self._take_over_the_pointer()\n",
        BUCKET,
    ),
    Safeguard(
        "an as_of that rests on removed days is refused",
        "pipelines/jobs/retention.py",
        "    if first <= last:",
        "    if False:",
        RETENTION,
    ),
    # --- what lands
    Safeguard(
        "a file that changed while it was read waits",
        FILES,
        "        if now != {self.stamp}:",
        "        if False:",
        LANDED_FILES,
    ),
    Safeguard(
        "symbolic links in the landing folder are not read",
        FILES,
        "            elif not entry.is_file(follow_symlinks=False):",
        "            elif not entry.is_file(follow_symlinks=True):",
        LANDED_FILES,
    ),
    Safeguard(
        "no symbolic link is opened",
        FILES,
        "flags | os.O_NOFOLLOW | os.O_NONBLOCK",
        "flags | os.O_NONBLOCK",
        LANDED_FILES,
    ),
    Safeguard(
        "only regular files are read",
        FILES,
        "    if not stat.S_ISREG(os.fstat(descriptor).st_mode):",
        "    if False:",
        LANDED_FILES,
    ),
    Safeguard(
        "an archive that ends in the middle is damaged",
        FILES,
        '    if member is not None:\n        raise DamagedArchive("it ends in the middle")',
        "    if False:\n        raise DamagedArchive",
        LANDED_FILES,
    ),
    Safeguard(
        "the cache does not trust a stamp of the last moments",
        SEEN_CACHE,
        "        if time.time_ns() - stamp.mtime_ns > _CLOCK_TICK_NS:",
        "        if True:",
        ("tests/unit/raw/test_ingest.py",),
    ),
    Safeguard(
        "a key given twice rejects a record",
        VALUES,
        "    if len(fields) < len(pairs):",
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "half a surrogate pair rejects a record",
        VALUES,
        "    if _SURROGATE_ESCAPE.search(text) and _has_lone_surrogate(value):",
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "nesting is limited",
        VALUES,
        '    if text.count("[") + text.count("{") > MAX_DEPTH and _depth_exceeds(value, MAX_DEPTH):',
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "a number that takes long to read is not read",
        VALUES,
        "def _integer(text: str) -> int:\n    if len(text) > MAX_NUMBER_CHARS:",
        "def _integer(text: str) -> int:\n    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "an instant needs an offset",
        VALUES,
        '    if sign is None and text[-1] not in "Zz":',
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "money has two decimals",
        VALUES,
        "    if cents != amount:",
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "a session does not end before it starts",
        RECORDS,
        "    if session.ended_at is not None and session.ended_at < session.started_at:",
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "a refund is not above its pledge",
        RECORDS,
        "    if pledge.refunded_amount is not None and pledge.refunded_amount > pledge.amount:",
        "    if False:",
        LANDED_VALUES,
    ),
    Safeguard(
        "columns are accepted only if they are what was written",
        "pipelines/landing/common_form.py",
        "    return pc.fill_null(pc.equal(array, lines), False)",
        "    return pc.fill_null(pc.equal(array, array), False)",
        ("tests/unit/landing/test_common_form.py",),
    ),
    # --- what counts
    Safeguard(
        "a session counts once, however often it landed",
        "sql/sessions/sessions.sql",
        "    anti join repeated\n",
        "    left join repeated\n",
        ("tests/spec/test_arrival.py", "tests/spec/test_revisions.py"),
    ),
    Safeguard(
        "sessions of one id from two sources are two",
        "sql/sessions/session_versions.sql",
        "            partition by source, session_id\n            order by",
        "            partition by session_id\n            order by",
        ("tests/spec/test_revisions.py", "tests/property/test_three_ways.py"),
    ),
    Safeguard(
        "a session that a correction moved leaves its old day",
        "sql/sessions/sessions.sql",
        "    where is_newest",
        "    where true",
        ("tests/spec/test_revisions.py",),
    ),
    Safeguard(
        "a deleted session is retracted",
        "sql/sessions/sessions.sql",
        "        when deleted then 'deleted'\n",
        "",
        ("tests/spec/test_revisions.py",),
    ),
    Safeguard(
        "an erased user is not counted",
        "sql/sessions/sessions.sql",
        "    anti join erased_viewers"
        " on landed.day = erased_viewers.day and landed.viewer_id = erased_viewers.viewer_id\n",
        "",
        ("tests/spec/test_erasures.py",),
    ),
    Safeguard(
        "banned and deleted creators are left out",
        "sql/tables/creator_rankings.sql",
        "    anti join unlisted on creator_windows.creator_id = unlisted.creator_id",
        "    left join unlisted on creator_windows.creator_id = unlisted.creator_id",
        ("tests/spec/test_creators.py",),
    ),
    Safeguard(
        "a viewer counts once in a window",
        "sql/cube/creator_windows.sql",
        "        sum(case when r.gap_days is null or r.gap_days > date_diff('day', w.first_day, r.day) then r.viewers"
        " else 0 end)\n            filter (where r.is_signed_in) as viewers,",
        "        sum(r.viewers) filter (where r.is_signed_in) as viewers,",
        ("tests/spec/test_cube.py",),
    ),
    # --- tokens
    Safeguard(
        "a token expires",
        AUTH,
        '    if now_ms >= claims["exp"] * 1000:',
        "    if False:",
        TOKENS,
    ),
    Safeguard(
        "a token must say when it expires",
        AUTH,
        '    if not _is_integer(claims.get("exp")) or not all(',
        '    if not _is_integer(claims.setdefault("exp", 1 << 40)) or not all(',
        TOKENS,
    ),
    Safeguard("a token's nbf holds", AUTH, '    if now_ms < claims.get("nbf", 0) * 1000:', "    if False:", TOKENS),
    Safeguard("a token's signature is verified", AUTH, "        verify_signature(token, candidates[0])\n", "", TOKENS),
    Safeguard(
        "a token's header holds nothing unknown",
        AUTH,
        "    if not header.keys() <= _HEADER_KEYS:",
        "    if False:",
        TOKENS,
    ),
    Safeguard(
        "a token is spelt canonically",
        AUTH,
        '    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part:',
        "    if False:",
        TOKENS,
    ),
    Safeguard(
        "a claim given twice refuses a token",
        AUTH,
        "    if len(found) != len(pairs):",
        "    if False:",
        TOKENS,
    ),
    Safeguard(
        "several Authorization headers are no token",
        AUTH,
        "    if len(authorization) != 1:",
        "    if not authorization:",
        TOKENS,
    ),
    Safeguard("a token is not too large", AUTH, "    if len(match[1]) > MAX_TOKEN_BYTES:", "    if False:", TOKENS),
    Safeguard(
        "a token is for this audience",
        AUTH,
        '    if expected.audience is not None and not _names(claims.get("aud"), expected.audience):',
        "    if False:",
        TOKENS,
    ),
    Safeguard(
        "a remembered token expires all the same",
        AUTH,
        "        if known is not None and known.not_before_ms <= now_ms < known.expires_ms:",
        "        if known is not None:",
        TOKENS,
    ),
    Safeguard(
        "a remembered token falls with its key",
        AUTH,
        "            if len(candidates) == 1 and candidates[0] is known.key:",
        "            if True:",
        TOKENS,
    ),
    Safeguard(
        "a key is used for the algorithms of its type alone",
        KEYS,
        " and algorithm in key.algorithms]",
        "]",
        (*TOKENS, *KEY_SETS),
    ),
    Safeguard(
        "a symmetric key is not taken from a URL",
        KEYS,
        '    if key_type == "oct" and not with_symmetric:',
        "    if False:",
        KEY_SETS,
    ),
    Safeguard(
        "a short RSA key is left out",
        KEYS,
        "        if modulus.bit_length() < SHORTEST_RSA_BITS:",
        "        if False:",
        KEY_SETS,
    ),
    Safeguard(
        "two keys of one name are no key",
        KEYS,
        '            if isinstance(entry, dict) and _is_name(entry) and counts[entry["kid"]] > 1:',
        "            if False:",
        KEY_SETS,
    ),
    Safeguard(
        "a JWKS is fetched once in 30 s at most",
        KEYS,
        "            if not self._is_due(FETCH_AT_MOST_EVERY_SECONDS):\n                return  # whoever",
        "            if False:\n                return  # whoever",
        KEY_SETS,
    ),
    Safeguard(
        "a JWKS does not follow a redirect to another scheme",
        "pipelines/core/http_client.py",
        "            if following.url.scheme != sent.url.scheme:",
        "            if False:",
        KEY_SETS,
    ),
    # --- callers
    Safeguard(
        "a caller sees his own streams alone",
        FUNDED,
        "        positions = sorted(set(self.callers.of(user_id)))",
        "        positions = sorted(set(self.callers.positions.to_pylist()))",
        ("tests/contract/test_funded.py",),
    ),
    Safeguard(
        "a recording is shown to whom it is open alone",
        FUNDED,
        '    url = stream.recording_url if status in ("owner", "rented") else b"null"',
        "    url = stream.recording_url",
        ("tests/contract/test_funded.py",),
    ),
    Safeguard(
        "what is prepared for strangers is for strangers alone",
        FUNDED,
        '    if called == "viewer" and rental is None:',
        '    if called == "viewer":',
        ("tests/contract/test_funded.py",),
    ),
    Safeguard(
        "an answer with a token is not for a shared cache",
        ENDPOINTS,
        "    return [JSON, *_ranking_headers(serving, PRIVATE)]",
        "    return [JSON, *_ranking_headers(serving, PUBLIC)]",
        ("tests/contract/test_ranking.py", "tests/contract/test_auth.py"),
    ),
    Safeguard(
        "only operators may ask what landed",
        OPERATORS,
        "        if subject not in self._operators:",
        "        if False:",
        EXPLAINED,
    ),
    Safeguard(
        "explanations do not queue up",
        EXPLANATIONS,
        "        if self._asked >= MAX_WAITING:\n",
        "        if self._asked < 0:\n",
        EXPLAINED,
    ),
    Safeguard(
        "an id that no command can be asked about is refused",
        EXPLANATIONS,
        '        if "\\0" in creator_id:',
        "        if not creator_id:",
        EXPLAINED,
    ),
    Safeguard(
        "an explanation that nobody waits for is ended",
        "pipelines/api/http_protocol.py",
        "            self._answering.has_closed = True\n",
        "",
        EXPLAINED,
    ),
    Safeguard(
        "a home that DuckDB takes for a pattern is refused",
        "pipelines/core/settings.py",
        "    found = [letter for letter in _NOT_IN_A_HOME if letter in str(home)]\n",
        "    found: list[str] = []\n",
        ("tests/unit/core/test_settings.py",),
    ),
    Safeguard(
        "an id that a caller sends is never an option of a command",
        EXPLANATIONS,
        '"--json", "--", creator_id]',
        '"--json", creator_id]',
        EXPLAINED,
    ),
    Safeguard(
        "an explanation that takes too long is ended",
        EXPLANATIONS,
        "await asyncio.wait_for(child.communicate(), self._seconds)",
        "await child.communicate()",
        EXPLAINED,
    ),
    Safeguard(
        "a wrong token is never answered as anonymous",
        ENDPOINTS,
        "        user_id = await self.api.subject(authorization, now_ms) if authorization else None",
        "        try:\n            user_id = await self.api.subject(authorization, now_ms) if authorization else None\n"
        "        except Refused:\n            user_id = None",
        TOKENS,
    ),
    # --- limits
    Safeguard(
        "every limit counts",
        LIMITS,
        "    is_admitted = all(count < limit.requests",
        "    is_admitted = any(count < limit.requests",
        LIMITED,
    ),
    Safeguard(
        "an instant counts until its window is over",
        LIMITS,
        "bisect_right(admitted, now - limit.window) for limit in limits]",
        "bisect_right(admitted, now - limit.window + SECOND) for limit in limits]",
        LIMITED,
    ),
    Safeguard(
        "X-Forwarded-For is believed of trusted proxies alone",
        CLIENTS,
        "    if not trusted or not _is_in(peer, trusted):\n        return str(peer)\n",
        "",
        LIMITED,
    ),
    Safeguard(
        "an IPv4 address in IPv6 is the same client",
        CLIENTS,
        "    return mapped or address",
        "    return address",
        LIMITED,
    ),
    # --- any range of days, and the page
    Safeguard(
        "a viewer of a range counts on the first day inside it alone",
        "pipelines/api/cube.py",
        'int(np.searchsorted(self.gaps[::-1], days, side="right"))',
        'int(np.searchsorted(self.gaps[::-1], days, side="left"))',
        ("tests/spec/test_ranges_of_the_api.py",),
    ),
    Safeguard(
        "a range that the snapshot does not hold is refused",
        "pipelines/api/insight.py",
        "        if first < cube.first_day.toordinal() or end > cube.end_day.toordinal():",
        "        if first < cube.first_day.toordinal() - 1 or end > cube.end_day.toordinal() + 1:",
        ("tests/contract/test_range_endpoints.py",),
    ),
    Safeguard(
        "banned and deleted creators are left out of every range",
        "pipelines/api/insight.py",
        "        there = np.flatnonzero((reach.sessions > 0) & self._is_listed)",
        "        there = np.flatnonzero(reach.sessions > 0)",
        ("tests/spec/test_ranges_of_the_api.py",),
    ),
    Safeguard(
        "a banned creator has no page",
        "pipelines/api/insight.py",
        "        if creator < 0 or not self._is_listed[creator]:",
        "        if creator < 0:",
        ("tests/spec/test_ranges_of_the_api.py",),
    ),
    Safeguard(
        "a name is a text on the page",
        "pipelines/api/page/layout.py",
        "    return html.escape(value.translate(_CONTROLS), quote=True)",
        "    return value.translate(_CONTROLS)",
        ("tests/contract/test_pages.py",),
    ),
    Safeguard(
        "a day of the cube is checked before it is believed",
        "pipelines/api/cube.py",
        "            day, ids = _day(snapshot.table(name), ids)",
        "            import pyarrow.parquet as pq\n"
        "            day, ids = _day(pq.read_table(snapshot.path / name, partitioning=None), ids)",
        ("tests/contract/test_range_endpoints.py",),
    ),
    # --- serving
    Safeguard(
        "a snapshot that cannot be loaded does not replace the one that is served",
        "pipelines/api/snapshot_watcher.py",
        "                self.serving = load(self._directory, pointer)",
        "                self.serving = None\n                self.serving = load(self._directory, pointer)",
        ("tests/contract/test_snapshot_watcher.py",),
    ),
    # --- what a run tells
    Safeguard(
        "a rejected line is shown by its shape alone",
        SAMPLES,
        '    kept = "".join(map(_mask, text))\n',
        "    kept = text\n",
        REPORTED,
    ),
    Safeguard(
        "text of any origin is escaped in a report",
        "pipelines/jobs/report/html.py",
        "    return html.escape(printable(text))\n",
        "    return text\n",
        REPORTED,
    ),
    Safeguard(
        "a report that was changed is not shown",
        "pipelines/jobs/report/__init__.py",
        "            facts = durable_files.verify_checksum(content)\n",
        '            facts.pop("seal", None)\n',
        REPORTED,
    ),
    Safeguard(
        "a report that cannot be worked out stops no run",
        "pipelines/jobs/report/__init__.py",
        "        except Exception as error:\n            said = ",
        "        except ZeroDivisionError as error:\n            said = ",
        REPORTED,
    ),
    Safeguard(
        "a report that cannot be written stops no run",
        RUN_LIFECYCLE,
        "    try:\n        yield\n    except Exception as error:\n        if ended_by",
        "    try:\n        yield\n    except ZeroDivisionError as error:\n        if ended_by",
        REPORTED,
    ),
    Safeguard(
        "a webhook's redirect is not followed",
        NOTIFY,
        "body=body, seconds=ATTEMPT_SECONDS)",
        "body=body, seconds=ATTEMPT_SECONDS, redirects=1)",
        NOTIFIED,
    ),
    Safeguard(
        "a command that hangs is ended with all that it started",
        NOTIFY,
        "        os.killpg(process.pid, signal.SIGKILL)\n",
        "        process.kill()\n",
        NOTIFIED,
    ),
    Safeguard(
        "passwords are left out of log lines",
        "pipelines/core/logs.py",
        "    return _SECRETS.sub(_hidden, text)\n",
        "    return text\n",
        ("tests/unit/core/test_logs.py",),
    ),
    Safeguard(
        "a setting that is a secret is not shown when it is wrong",
        "pipelines/core/settings.py",
        'shown = "not usable" if setting in _SECRET else repr(text)',
        "shown = repr(text)",
        ("tests/unit/core/test_settings.py",),
    ),
    Safeguard(
        "an executor with another program does nothing",
        "pipelines/lake/engines/spark_tasks.py",
        "        if different:\n",
        "        if False:\n",
        ("tests/unit/lake/test_spark_tasks.py",),
    ),
    Safeguard(
        "a damaged warehouse is not asked",
        RANGE_QUERY,
        '            durable_files.verify(path, snapshot.files[WAREHOUSE]["sha256"])\n',
        "",
        ASKED,
    ),
    Safeguard(
        "a question cannot change what was published",
        "pipelines/lake/engines/duckdb.py",
        "as {name} (read_only)",
        "as {name}",
        ASKED,
    ),
)
