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
    lambda text: f"{text}\0\0",  # of a field of fixed length
    lambda text: f"{text}\u00a0",
    lambda text: text[:1] + "\u200b" + text[1:],
    lambda text: f"\ufeff{text}",
    lambda text: f"\u202e{text}\u00ad",  # from right to left, and a hyphen for the end of a line
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
    assert canonical(f"{{{value}}}") == canonical(f"URN:UUID:{value}") == canonical(f"urn:uuid:{value}") == str(value)


@given(st.from_regex(r"[a-zA-Z0-9_-]{1,7}", fullmatch=True), st.from_regex(r"[a-zA-Z0-9_-]{1,7}", fullmatch=True))
def test_ids_that_differ_to_the_eye_stay_apart(one: str, other: str) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


LOOK_ALIKE = {  # Cyrillic, Greek, Turkish and Armenian letters, Cherokee, dashes
    "aceopxyijshd": "\u0430\u0441\u0435\u043e\u0440\u0445\u0443\u0456\u0458\u0455\u04bb\u0501",
    "ABCEHIKMOPTX": "\u0410\u0412\u0421\u0415\u041d\u0406\u041a\u041c\u041e\u0420\u0422\u0425",
    "ABEZHIKMNOPTYX": "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "ovaip": "\u03bf\u03bd\u03b1\u03b9\u03c1",
    "gioo-": "\u0261\u0131\u0585\u2134\u2013",
}


@pytest.mark.parametrize("plain", LOOK_ALIKE)
def test_letters_of_other_alphabets_that_look_the_same(plain: str) -> None:
    """One by one, and all together in one id; those that look like none stay what they are."""
    for letter, other in zip(plain, LOOK_ALIKE[plain], strict=True):
        assert canonical(f"x{other}1") == f"x{letter}1", f"{ord(other):x}"
    assert canonical(LOOK_ALIKE[plain]) == plain
    assert canonical("\u0430\u0436\u0431") == canonical("a\u0436\u0431") != canonical("a\u0436b")


@given(st.text(st.characters(min_codepoint=0x80, categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=3))
def test_a_canonical_form_looks_like_itself(text: str) -> None:
    """However letters stand for each other, one of them stands for all."""
    assert canonical(canonical(text)) == canonical(text)


@pytest.mark.parametrize(
    ("plain", "alike"),
    [
        ("ann", "\u0430nn"),
        ("Ivan", "\u0399van"),
        ("Zo\u00eb", "Z\u043e\u00eb"),
        ("ann", "ann "),
        ("ann", "ann\0"),
        ("0x52908400098527886e0f7030069857d2e4169ee7", "0x52908400098527886E0F7030069857D2E4169EE7"),
        ("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "{6F9619FF-8B86-D011-B42D-00CF4FC964FF}"),
        ("6f9619ff-8b86-d011-b42d-00cf4fc964ff", "urn:uuid:6f9619ff-8b86-d011-b42d-00cf4fc964ff"),
        ("Zo\u00eb", "Zoe\u0308"),
        ("64d15f9e2e6c8f4d5a12345b", "64D15F9E2E6C8F4D5A12345B"),
    ],
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
