"""Every setting comes from one variable of the environment, or is refused with its name."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipelines.core import settings
from pipelines.core.errors import UsageError
from pipelines.core.settings import Policy, Settings, load, names, unknown_variables, variable

# One value of every setting that is not its default: as written, and as read.
VALUES: dict[str, tuple[str, Any]] = {
    "home": ("/somewhere/else", Path("/somewhere/else")),
    "day_timezone": ("Europe/Istanbul", "Europe/Istanbul"),
    "min_watched_seconds": ("30", 30),
    "leave_out_own_views": ("false", False),
    "max_session_hours": ("12", 12),
    "revision_days": ("7", 7),
    "max_window_days": ("365", 365),
    "windows": ("30, 7,14", (7, 14, 30)),
    "max_rejected_share": ("0.05", Decimal("0.05")),
    "memory_limit": ("1GB", "1GB"),
    "threads": ("2", 2),
    "cache": ("/copies", Path("/copies")),
    "s3_endpoint": ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
    "s3_timeout_seconds": ("5", 5),
    "s3_look_every_seconds": ("1", 1),
    "engine": ("spark", "spark"),
    "spark_master": ("spark://head:7077", "spark://head:7077"),
    "spark_options": ('{"spark.executor.memory": "4g"}', (("spark.executor.memory", "4g"),)),
    "keep_snapshots": ("3", 3),
    "keep_warehouses": ("2", 2),
    "keep_days": ("800", 800),
    "home_mode": ("group", "group"),
    "notify_command": ("/usr/local/bin/page --night", "/usr/local/bin/page --night"),
    "notify_webhook": ("https://chat.example/hooks/1", "https://chat.example/hooks/1"),
    "metrics_push_url": ("http://gateway:9091/", "http://gateway:9091/"),
    "metrics_file": ("/var/lib/textfile/mostwatched.prom", Path("/var/lib/textfile/mostwatched.prom")),
    "log_format": ("JSON", "json"),
    "jwks": ("https://id.example/jwks.json", "https://id.example/jwks.json"),
    "jwt_issuer": ("https://id.example", "https://id.example"),
    "jwt_audience": ("clients", "clients"),
    "jwt_any_audience": ("true", True),
    "forgotten_key": ("/etc/mostwatched/forgotten.key", Path("/etc/mostwatched/forgotten.key")),
    "min_cell": ("5", 5),
    "jwt_subject_claim": ("uid", "uid"),
    "jwt_leeway_seconds": ("5", 5),
    "operators": ("ops-1, ops-2,", ("ops-1", "ops-2")),
    "stale_hours": ("24", 24),
    "client_timeout_seconds": ("30", 30),
    "redis_url": ("redis://localhost/0", "redis://localhost/0"),
    "trusted_proxies": ("10.0.0.1, 10.1.0.0/16,", ("10.0.0.1", "10.1.0.0/16")),
    "public_url": ("https://example.com/stats/", "https://example.com/stats"),
    "cors_origins": (
        "https://a.example.com, http://localhost:3000",
        ("https://a.example.com", "http://localhost:3000"),
    ),
    "log_level": ("DEBUG", "DEBUG"),
}
every_setting = pytest.mark.parametrize("name", names())


def test_without_an_environment_there_are_defaults():
    """Nothing has to be set; the home is ./data, and always absolute."""
    assert load(environ={}) == Settings(home=Path("data").absolute())


@every_setting
def test_every_setting_has_its_variable(name):
    """A variable sets its setting and nothing else."""
    text, value = VALUES[name]
    settings = load(environ={variable(name): text})
    changed = {
        field.name
        for field in fields(Settings)
        if getattr(settings, field.name) != getattr(load(environ={}), field.name)
    }
    assert getattr(settings, name) == value
    assert changed == {name}


@every_setting
def test_an_empty_variable_is_absent(name):
    """What is set to nothing is not set."""
    assert load(environ={variable(name): ""}) == load(environ={})


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("day_timezone", "Istanbul", "IANA time zone such as Europe/Istanbul"),
        ("day_timezone", "../../etc/passwd", "IANA time zone"),
        ("min_watched_seconds", "-1", "from 0"),
        ("min_watched_seconds", "1.5", "whole number"),
        ("leave_out_own_views", "maybe", "true or false"),
        ("max_session_hours", "0", "from 1"),
        ("max_window_days", "29", "from 30"),
        ("max_window_days", "many", "whole number"),
        ("windows", "0", "from 1"),
        ("windows", "7,,30", "whole number"),
        ("windows", "7;30", "whole number"),
        ("max_rejected_share", "1.01", "from 0 to 1"),
        ("max_rejected_share", "1%", "from 0 to 1"),
        ("max_rejected_share", "nan", "from 0 to 1"),
        ("memory_limit", "2", "such as 2GB"),
        ("memory_limit", "0.0GB", "such as 2GB"),
        ("threads", "-1", "from 0"),
        ("keep_snapshots", "0", "from 1"),
        ("stale_hours", "0", "from 1"),
        ("log_format", "xml", "text or json"),
    ],
)
def test_a_value_that_cannot_be_is_named(name, text, reason):
    """The error says which variable, what it is, and what it must be."""
    with pytest.raises(UsageError, match=reason) as error:
        load(environ={variable(name): text})
    assert variable(name) in str(error.value)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("notify_command", "page 'secret", "quotation mark"),
        ("notify_command", " ", "no command"),
        ("notify_webhook", "ftp://secret.example/x", "begins with https://"),
        ("notify_webhook", "https://user:secret@chat.example/x", "user or a password"),
        ("notify_webhook", "https://chat.example/secret\nx", "begins with https://"),
        ("notify_webhook", "secret", "begins with https://"),
        ("metrics_push_url", "secret", "begins with https://"),
    ],
)
def test_a_hook_that_cannot_be_is_not_shown(name, text, reason):
    """Whoever knows a webhook's URL can send to it: the error names the variable and not what is in it."""
    with pytest.raises(UsageError, match=reason) as error:
        load(environ={variable(name): text})
    assert variable(name) in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("spark.hadoop.fs.s3a.secret.key=hunter2, spark.executor.memory", "part 2, spark.executor.memory, is not"),
        ("spark.hadoop.fs.s3a.secret.key=a,hunter2", "part 2 is not"),
        ("spark.hadoop.fs.s3a.secret.key hunter2", "part 1, spark.hadoop.fs.s3a.secret.key, is not"),
        ("spark.hadoop.fs.s3a.secret.key:hunter2", "part 1, spark.hadoop.fs.s3a.secret.key, is not"),
        ("hunter2=spark.executor.memory", "part 1 is not"),
        (
            '{"spark.hadoop.fs.s3a.secret.key": "hunter2", "spark.executor.memory": ""}',
            "part 2, spark.executor.memory,",
        ),
        ('{"spark.hadoop.fs.s3a.secret.key": "hunter2"', "delimiter"),
        ('["hunter2"]', "part 1 is not"),
    ],
)
def test_options_that_cannot_be_are_named_and_not_shown(text, part):
    """Which of them is wrong, by its name; of what is behind it nothing: keys of buckets are set there."""
    with pytest.raises(UsageError) as error:
        load(environ={variable("spark_options"): text})
    assert variable("spark_options") in str(error.value)
    assert part in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "name",
    ["notify_command", "notify_webhook", "metrics_push_url", "redis_url", "s3_endpoint", "spark_options"],
)
def test_a_setting_that_can_hold_a_secret_is_never_shown(monkeypatch, name):
    """Whatever is found to be wrong with it."""

    def refuse(text: str) -> str:
        raise ValueError("it cannot be")

    monkeypatch.setitem(settings._PARSERS, name, refuse)
    with pytest.raises(UsageError, match=f"^{variable(name)} is not usable: it cannot be.$"):
        load(environ={variable(name): "redis://:hunter2@host"})


def test_an_unknown_variable_with_our_prefix_is_found():
    """A misspelt setting is found, so that it is not ignored in silence; the rest of the environment is not ours."""
    environ = {"MOSTWATCHED_TIMEZONE": "UTC", "MOSTWATCHED_THREADS": "1", "MOSTWATCHED_TEST_DATA": "/d", "TZ": "UTC"}
    assert unknown_variables(environ) == ["MOSTWATCHED_TIMEZONE"]
    assert load(environ=environ) == load(environ={"MOSTWATCHED_THREADS": "1"})


def test_other_variables_are_none_of_our_business():
    """The rest of the environment is not read."""
    assert load(environ={"HOME": "/root", "TZ": "Asia/Tokyo", "mostwatched_threads": "5"}) == load(environ={})


def test_a_home_in_a_bucket_has_a_copy_here():
    """Of each URL in a folder of its own; a folder is a folder, and no variable names the URL by itself."""
    environ = {variable("cache"): "/copies"}
    one, other = load("s3://bucket/one/", environ), load(None, environ | {variable("home"): "s3://bucket/other"})
    assert (one.home_url, other.home_url) == ("s3://bucket/one", "s3://bucket/other")
    assert {one.home.parent, other.home.parent} == {Path("/copies")}
    assert one.home != other.home
    assert load("s3://bucket/one", environ) == one
    assert load("/a/folder", environ).home_url is None
    assert unknown_variables({variable("home_url"): "s3://x"}) == [variable("home_url")]


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]c", "back\\slash", "byte\udcff"])
def test_a_home_whose_files_the_engine_would_not_open_is_refused(tmp_path, name):
    """DuckDB reads `home/a*b/x.parquet` as a pattern, and would count the rows of a neighbour too."""
    for given in ({"home": tmp_path / name}, {"environ": {variable("home"): str(tmp_path / name)}}):
        with pytest.raises(UsageError, match=r"cannot be used: .+ another"):
            load(**({"environ": {}} | given))
    with pytest.raises(UsageError, match="cannot be used"):
        load("s3://bucket/home", {variable("cache"): str(tmp_path / name)})


@pytest.mark.parametrize("name", ["a]b", "{a,b}", "a b", "a'b", "50%", "a#b", "über", "~a"])
def test_other_homes_are_taken_as_they_are(tmp_path, name):
    """What DuckDB takes for a plain name is one."""
    assert load(tmp_path / name, {}).home == tmp_path / name


def test_a_home_that_is_handed_in_comes_first():
    """`--home` goes before MOSTWATCHED_HOME."""
    settings = load(Path("/given"), {variable("home"): "/set"})
    assert settings.home == Path("/given")
    assert settings.landing == Path("/given/landing")
    assert settings.lake == Path("/given/lake")
    assert settings.snapshots == Path("/given/snapshots")


def test_an_empty_home_is_not_the_folder_one_is_in():
    """`--home "$UNSET"` of a script."""
    with pytest.raises(UsageError, match="--home is empty: name a folder"):
        load("", {variable("home"): "/set"})


def test_the_served_window_is_always_published():
    """The API serves 30 days, so they are published whatever is asked for; each window once, shortest first."""
    assert load(environ={variable("windows"): "14,1,14"}).windows == (1, 14, 30)


def test_a_window_must_fit_into_the_cube():
    """A window that the cube cannot answer is refused, with both ways out."""
    with pytest.raises(UsageError, match=r"MOSTWATCHED_WINDOWS has a window of 91 days.*MAX_WINDOW_DAYS"):
        load(environ={variable("windows"): "91"})
    assert load(environ={variable("windows"): "91", variable("max_window_days"): "91"}).windows == (30, 91)


def test_the_key_of_the_forgotten_lies_outside_of_the_home(tmp_path):
    """In it, it would go wherever the home goes."""
    with pytest.raises(UsageError, match=r"MOSTWATCHED_FORGOTTEN_KEY is .*inside of the home"):
        load(tmp_path, {variable("forgotten_key"): str(tmp_path / "forgotten" / "key")})


def test_the_policy_is_what_decides_the_numbers():
    """A policy comes out of a manifest as it went in, and holds nothing of where and how fast."""
    values = {variable(name): VALUES[name][0] for name in VALUES}
    policy = load(environ=values).policy
    assert Policy.from_json(policy.as_json()) == policy != Policy()
    assert list(policy.as_json()) == [field.name for field in fields(Policy)]
    assert load(environ={}).policy == Policy()


def test_settings_cannot_be_changed():
    """One frozen object is handed on."""
    with pytest.raises(AttributeError):
        load(environ={}).threads = 3  # type: ignore[misc]
