"""Ids that look alike are counted, and stay what they are."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from pipelines.jobs.report.similar_ids import canonical

VARIANTS: list[Callable[[str], str]] = [
    lambda text: f" {text}",
    lambda text: f"{text}\t",
    lambda text: f"{text}\u00a0",
    lambda text: text[:1] + "\u200b" + text[1:],
    lambda text: f"\ufeff{text}",
    lambda text: unicodedata.normalize("NFD", text),
    lambda text: unicodedata.normalize("NFC", text),
    lambda text: "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in text),  # full width
]


@given(st.text(min_size=1, max_size=20), st.sampled_from(VARIANTS))
def test_what_looks_alike_has_one_canonical_form(text: str, variant: Callable[[str], str]) -> None:
    assert canonical(variant(text)) == canonical(text)


@given(st.uuids())
def test_hexadecimal_ids_in_either_case(value: object) -> None:
    assert canonical(str(value).upper()) == canonical(str(value))


@given(st.from_regex(r"[a-zA-Z0-9_-]{1,7}", fullmatch=True), st.from_regex(r"[a-zA-Z0-9_-]{1,7}", fullmatch=True))
def test_ids_that_differ_to_the_eye_stay_apart(one: str, other: str) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@pytest.mark.parametrize(
    ("plain", "alike"),
    [("ann", "ann "), ("Zo\u00eb", "Zoe\u0308"), ("64d15f9e2e6c8f4d5a12345b", "64D15F9E2E6C8F4D5A12345B")],
)
def test_they_are_found_in_another_file_of_another_day_and_entity(tmp_path: Path, plain: str, alike: str) -> None:
    """Each counts as its own, as it landed; what has an unusual id alone is not mentioned."""
    world = World(tmp_path, windows=(1, 7, 30))
    at = "2026-01-30T10:00:00Z"
    session = {"creatorId": "c", "startedAt": at}
    world.land(
        "viewing_sessions", [session | {"sessionId": "1", "viewerId": plain, "startedAt": "2026-01-10T10:00:00Z"}]
    )
    facts = world.run(compare=False).report.facts
    assert facts
    assert facts["similar_ids"] == []
    world.land("viewing_sessions", [session | {"sessionId": "2", "viewerId": alike}])
    world.land("erasures", [{"userId": " somebody else"}])
    night = world.run()  # and compare with the oracle, to which they are two
    assert night.report.facts
    (found,) = night.report.facts["similar_ids"]
    assert (found["kind"], found["ids"]) == ("user", 2)
    assert "2 user ids differ only in white space" in found["sentence"]
    assert night.report.facts["problems"] == []
    world.land("erasures", [{"userId": f"{plain}\u200b"}])
    facts = world.run().report.facts
    assert facts
    assert [(each["kind"], each["ids"]) for each in facts["similar_ids"]] == [("user", 2)]
