"""Settings: the only reader of the environment. Everything else is passed one frozen object.

Every setting is an environment variable `MOSTWATCHED_<NAME IN CAPITALS>`; README.md lists them, and a test
compares that list with the fields below.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pipelines.core.errors import UsageError

PREFIX = "MOSTWATCHED_"
ENGINES = ("duckdb", "spark")
SERVED_WINDOW_DAYS = 30  # the API's window: always published, and the least that the cube may hold


@dataclass(frozen=True)
class Policy:
    """The rules by which sessions count and days begin; recorded in every manifest, part of the snapshot id."""

    day_timezone: str = "UTC"
    min_watched_seconds: int = 0  # of a whole session; sessions with at least this many count
    leave_out_own_views: bool = True  # sessions whose viewer is the creator
    max_session_hours: int = 24  # the longest session that is believed; a later end counts as none
    revision_days: int = 35  # records of one session start at most so many UTC days apart
    max_window_days: int = 90  # W: the longest range that the cube can answer
    windows: tuple[int, ...] = (1, 7, 30)  # days; the published rankings
    min_cell: int = 0  # the least number of people that a published figure rests on; 0: any

    @property
    def lookback_days(self) -> int:
        """The number of days before its as_of that a snapshot depends on: those of the cube and of its gaps."""
        return 2 * self.max_window_days + self.max_session_hours // 24 + 3

    def as_json(self) -> dict[str, object]:
        """The policy as plain JSON values, in the order of the fields; `min_cell` only where there is one.

        Snapshot ids rest on it: those that were published before there was a `min_cell` keep theirs.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)} | {"windows": list(self.windows)}
        return values if self.min_cell else {name: value for name, value in values.items() if name != "min_cell"}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Policy:
        """The policy that a manifest recorded with `as_json`."""
        known = {field.name: values.get(field.name, field.default) for field in fields(cls)}
        return cls(**(known | {"windows": tuple(known["windows"])}))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Settings:
    """Where things are and how much they may use. Every field can be set from the environment."""

    home: Path = Path("data")
    home_mode: str = "owner"  # who may read the home: owner, or group (its group: snapshots/ alone, for the API's user)
    # the night
    day_timezone: str = "UTC"
    min_watched_seconds: int = 0
    leave_out_own_views: bool = True
    max_session_hours: int = 24
    revision_days: int = 35
    max_window_days: int = 90
    windows: tuple[int, ...] = (1, 7, 30)
    min_cell: int = 0
    max_rejected_share: Decimal = Decimal("0.01")  # of an entity's newly landed records
    memory_limit: str = "2GB"  # of the SQL engine; what does not fit is spilled under home
    threads: int = 0  # of the SQL engine; 0: one per core
    home_url: str | None = None  # s3://BUCKET/PREFIX when the home lies there: `home` is then a copy of it
    cache: Path = Path("~/.cache/mostwatched")  # where such copies are
    s3_endpoint: str | None = None  # of another server than Amazon's
    s3_timeout_seconds: int = 60  # that each request may stand still
    s3_look_every_seconds: int = 15  # how often the read API looks for a new snapshot there
    engine: str = "duckdb"  # what runs the SQL: duckdb, or spark past one machine
    spark_master: str | None = None  # as Spark writes it; None: that of spark-submit, else local[*]
    spark_options: tuple[tuple[str, str], ...] = ()  # Spark's own, by name
    keep_snapshots: int = 30  # that `snapshots prune` leaves, besides the current one
    keep_warehouses: int = 0  # of the snapshots that `snapshots prune` leaves, besides the current one's; 0: all
    keep_days: int = 0  # of sessions in raw, before the newest as_of, that `snapshots prune` leaves; 0: all
    forgotten_key: Path | None = None  # a file outside of the home with the key of the register of the forgotten
    # what a run tells
    notify_command: str | None = None  # run without a shell when a run fails, is refused, is late or recovers
    notify_webhook: str | None = None  # an http(s) URL that the same is sent to
    metrics_file: Path | None = None  # a .prom file for the node_exporter, or a folder of them; by default under home
    metrics_push_url: str | None = None  # of a Pushgateway, where no node_exporter reads that file
    log_format: str | None = None  # text or json; by default text for commands and json for the API
    # the read API
    jwks: str | None = None  # a JWKS file, or the URL of one
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_any_audience: bool = False  # without jwt_audience: take tokens that were issued for somebody else, too
    jwt_subject_claim: str = "sub"
    jwt_leeway_seconds: int = 30  # by which the clock of whoever issues tokens may differ from ours
    operators: tuple[str, ...] = ()  # users who may ask it why a number is what it is
    stale_hours: int = 48  # /readyz answers 503 once the snapshot, or its data at that time, is older
    redis_url: str | None = None  # where several API workers share their rate limits
    trusted_proxies: tuple[str, ...] = ()  # peers whose X-Forwarded-For is believed; addresses or networks
    public_url: str | None = None  # where clients reach the API; `servers` of /openapi.json
    cors_origins: tuple[str, ...] = ()  # origins whose scripts may read the API in a browser; or *, for all
    client_timeout_seconds: int = 15  # a client may keep the API waiting: for a whole request, or to take an answer
    log_level: str = "INFO"

    @property
    def policy(self) -> Policy:
        """The settings that decide the figures."""
        return Policy(**{field.name: getattr(self, field.name) for field in fields(Policy)})

    @property
    def landing(self) -> Path:
        """Where the platform drops its files when no `--landing` is given."""
        return self.home / "landing"

    @property
    def lake(self) -> Path:
        """Raw and derived files. Disposable: everything in it can be made again from what landed."""
        return self.home / "lake"

    @property
    def snapshots(self) -> Path:
        """Published snapshots and `current.json`."""
        return self.home / "snapshots"

    @property
    def reports(self) -> Path:
        """The reports of the last run of each as_of."""
        return self.home / "reports"

    @property
    def metrics(self) -> Path:
        """The metrics of the last run, for Prometheus: in a folder that homes share, each has a file of its own."""
        path = self.metrics_file or self.home / "metrics" / "mostwatched.prom"
        if path.suffix == ".prom":  # the node_exporter reads no other files
            return path
        return path / f"mostwatched-{hashlib.sha256(os.fsencode(self.home_name)).hexdigest()[:8]}.prom"

    @property
    def home_name(self) -> str:
        """Where the home lies, as a text: the folder, or the URL."""
        return self.home_url or str(self.home)


def names() -> list[str]:
    """The names of the settings. `home_url` is not one: it is set when `home` is a URL."""
    return [field.name for field in fields(Settings) if field.name != "home_url"]


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def load(home: Path | str | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `environ`, with `home` (the command line's: a folder, or a URL) before MOSTWATCHED_HOME.

    An empty variable counts as absent. Raises UsageError for a value that cannot be.
    """
    known = {variable(name): name for name in names()}
    ours = {name: text for name, text in environ.items() if name.startswith(PREFIX) and text != ""}
    values = {known[name]: _parse(name, known[name], text) for name, text in ours.items() if name in known}
    if home is not None:
        if not str(home):  # such as an unset variable of a shell; it would be the folder one happens to be in
            raise UsageError("--home is empty: name a folder, or leave the option out for the one of MOSTWATCHED_HOME.")
        values["home"] = home
    values |= _home(values.get("home", Settings.home), values.get("cache", Settings.cache))
    settings = Settings(**values)  # type: ignore[arg-type]
    too_long = [days for days in settings.windows if days > settings.max_window_days]
    if too_long:
        raise UsageError(
            f"{variable('windows')} has a window of {too_long[0]} days, but {variable('max_window_days')} is "
            f"{settings.max_window_days}: raise that, or publish shorter windows."
        )
    key = settings.forgotten_key
    if key is not None and key.resolve().is_relative_to(settings.home.resolve()):
        raise UsageError(
            f"{variable('forgotten_key')} is {key}, inside of the home: whoever has the home would have the key, "
            "too. Name a file outside of it."
        )
    at_least = settings.policy.lookback_days
    if 0 < settings.keep_days < at_least:
        raise UsageError(
            f"{variable('keep_days')} is {settings.keep_days}, but a snapshot rests on the {at_least} days before its "
            f"as_of ({variable('max_window_days')} twice, and the longest session): keep at least that many, or 0 for "
            "all."
        )
    return settings


def is_url(text: object) -> bool:
    """Whether a home or a landing folder is named by a URL, so that it lies in a bucket, instead of by a path."""
    return "://" in str(text)


def _home(home: object, cache: object) -> dict[str, object]:
    """Where the home is: a folder, or a URL and the folder of the copy of what lies there."""
    if not is_url(home):
        return {"home": _usable(Path(str(home)).absolute()), "home_url": None}
    url = str(home).rstrip("/")
    name = hashlib.sha256(os.fsencode(url)).hexdigest()[:16]
    return {"home": _usable(Path(str(cache)).expanduser().absolute() / name), "home_url": url}


_NOT_IN_A_HOME = "*?[\\"  # DuckDB would read every file that fits such a pattern, and cuts a database's path at a ?


def _usable(home: Path) -> Path:
    """The same folder. Raises UsageError where DuckDB would open other files than those in it, or none."""
    found = [letter for letter in _NOT_IN_A_HOME if letter in str(home)]  # safeguard: home-is-no-pattern
    if found:
        problem = f"DuckDB takes {' and '.join(found)} in a path for a pattern, and could read other files"
    else:
        try:
            str(home).encode()
        except UnicodeEncodeError:
            problem = "its path is not UTF-8, and DuckDB and Arrow open no such files"
        else:
            return home
    raise UsageError(f"The home {home} cannot be used: {problem}. Give the folder another name, or use another one.")


def wanted_log_format(environ: Mapping[str, str] = os.environ) -> str | None:
    """The log format that is asked for, before anything else is read; None for none and for one that cannot be."""
    text = environ.get(variable("log_format"), "").lower()
    return text if text in ("text", "json") else None


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Variables with our prefix that are no setting: misspelt ones, which must not be ignored in silence."""
    known = {variable(name) for name in names()} | _FOR_OTHERS
    return sorted(name for name in environ if name.startswith(PREFIX) and name not in known)


def java(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The Java that Spark would be run by: that of JAVA_HOME, else the first on the PATH; None without one."""
    home = environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else environ.get("PATH"))
    return Path(found) if found else None


def is_submitted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether spark-submit has started this process, which then says where Spark runs."""
    return "PYSPARK_GATEWAY_PORT" in environ


# Read by the test suite, not by the system.
_FOR_OTHERS = frozenset({"MOSTWATCHED_TEST_DATA"})


def _parse(variable_name: str, setting: str, text: str) -> object:
    parse = _PARSERS.get(setting, str)
    try:
        return parse(text)
    except (ValueError, InvalidOperation, KeyError, OSError) as error:
        reason = str(error) or "it cannot be read"
        shown = "not usable" if setting in _SECRET else repr(text)  # safeguard: secret-setting-not-shown
        raise UsageError(f"{variable_name} is {shown}: {reason}.") from None


# Never shown: whoever knows a hook can send as we do, and the others can hold passwords and keys.
_SECRET = frozenset(
    {"notify_command", "notify_webhook", "metrics_push_url", "redis_url", "s3_endpoint", "spark_options"}
)


def _whole(at_least: int, at_most: int = 10**9) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError("it must be a whole number") from None
        if not at_least <= number <= at_most:
            raise ValueError(f"it must be from {at_least} to {at_most}")
        return number

    return parse


def _timezone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except Exception:
        raise ValueError("it is not an IANA time zone such as Europe/Istanbul") from None


def _windows(text: str) -> tuple[int, ...]:
    days = {_whole(1, 1000)(part.strip()) for part in text.split(",")}
    return tuple(sorted(days | {SERVED_WINDOW_DAYS}))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _public_url(text: str) -> str:
    """The address of the API without a slash at its end: generated clients append paths to it as they are."""
    url = text.rstrip("/")
    if not _PUBLIC_URL.fullmatch(url):
        raise ValueError(f"{text} is no address such as https://example.com or https://example.com/stats")
    return url


def _origins(text: str) -> tuple[str, ...]:
    """Origins as browsers send them: a scheme, a name in small letters, and the port unless it is the scheme's own."""
    origins = _list(text)
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin} is no origin such as https://example.com or http://localhost:3000, or *")
        if re.fullmatch(r"http://.*:80|https://.*:443", origin):
            raise ValueError(f"a browser leaves the port out of {origin}")
    if "*" in origins and len(origins) > 1:
        raise ValueError("* is every origin: name it alone")
    return origins


_PUBLIC_URL = re.compile(r"https?://[^\s/?#]+(/[^\s?#]*)?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def _share(text: str) -> Decimal:
    try:
        share = Decimal(text)
    except InvalidOperation:
        raise ValueError("it must be a number from 0 to 1") from None
    if not (share.is_finite() and 0 <= share <= 1):
        raise ValueError("it must be a number from 0 to 1")
    return share


def _memory(text: str) -> str:
    if not re.fullmatch(r"\d+(\.\d+)? ?([KMGT]i?B)", text) or not re.search("[1-9]", text):
        raise ValueError("it must be an amount of memory such as 2GB or 800MB")
    return text


def _command(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError("a quotation mark in it is not closed") from None
    if not words:
        raise ValueError("it names no command")
    return text


def _webhook(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("it must be a URL that begins with https:// or http://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must not hold a user or a password")
    return text


def _log_format(text: str) -> str:
    if text.lower() not in ("text", "json"):
        raise ValueError("it must be text or json")
    return text.lower()


def _engine(text: str) -> str:
    if text not in ENGINES:
        raise ValueError(f"it must be one of {', '.join(ENGINES)}")
    return text


def _home_mode(text: str) -> str:
    if text not in ("owner", "group"):
        raise ValueError("it must be owner or group")
    return text


def _options(text: str) -> tuple[tuple[str, str], ...]:
    """`{"name": "value"}` as JSON, or `name=value, name=value`. Errors quote no value, nor what may be one."""
    if text.lstrip().startswith("{"):
        said = json.loads(text)
        pairs = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in said.items()]
    else:
        pairs = [(name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in text.split(","))]
    for place, (name, value) in enumerate(pairs, 1):
        if not (name.startswith("spark.") and value):
            known = re.match(r"spark\.[\w./-]*", name)
            which = f"part {place}, {known[0]}," if known else f"part {place}"
            raise ValueError(f"{which} is not an option of Spark's with a value, such as spark.executor.memory=4g")
    return tuple(sorted(pairs))


def _log_level(text: str) -> str:
    levels = ("DEBUG", "INFO", "WARNING", "ERROR")
    if text.upper() not in levels:
        raise ValueError(f"it must be one of {', '.join(levels)}")
    return text.upper()


def _yes_or_no(text: str) -> bool:
    answers = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in answers:
        raise ValueError("it must be true or false")
    return answers[text.lower()]


_PARSERS: dict[str, Callable[[str], object]] = {
    "home_mode": _home_mode,
    "cache": Path,
    "s3_timeout_seconds": _whole(1, 3600),
    "s3_look_every_seconds": _whole(1, 3600),
    "day_timezone": _timezone,
    "min_watched_seconds": _whole(0),
    "leave_out_own_views": _yes_or_no,
    "max_session_hours": _whole(1, 24 * 90),
    "revision_days": _whole(0, 1000),
    "max_window_days": _whole(SERVED_WINDOW_DAYS, 1000),
    "windows": _windows,
    "min_cell": _whole(0),
    "max_rejected_share": _share,
    "memory_limit": _memory,
    "threads": _whole(0, 1024),
    "engine": _engine,
    "spark_options": _options,
    "keep_snapshots": _whole(1),
    "keep_warehouses": _whole(0),
    "keep_days": _whole(0),
    "forgotten_key": lambda text: Path(text).absolute(),
    "notify_command": _command,
    "notify_webhook": _webhook,
    "metrics_push_url": _webhook,
    "metrics_file": lambda text: Path(text).absolute(),
    "log_format": _log_format,
    "jwt_any_audience": _yes_or_no,
    "jwt_leeway_seconds": _whole(0, 600),
    "stale_hours": _whole(1),
    "client_timeout_seconds": _whole(1, 3600),
    "log_level": _log_level,
    "operators": _list,
    "trusted_proxies": _list,
    "public_url": _public_url,
    "cors_origins": _origins,
}
