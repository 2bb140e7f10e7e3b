"""Many ids together are found where each is found by itself, and whose a record is, is the same."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jobs.id_matcher import FEW, IdMatcher, IdMatchers

LETTERS = "abc-_\"\\/'@.é日 \n7\x00\U0001f600"
IDS = st.one_of(
    st.sampled_from(
        ["usr-7f3a", "usr-7f3a'\"ö", "usr-7f3", "a/b/c", "aaaa", "aaa", "7", "é", "abcabc", "日本語", "ab\\"]
    ),
    st.text(LETTERS, min_size=1, max_size=8),
)


def escaped(text: str) -> str:
    """With every letter as a JSON escape."""
    units = text.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def spellings(user: str) -> list[bytes]:
    half = len(user) // 2
    texts = [
        user,
        json.dumps(user),
        json.dumps(user, ensure_ascii=False).replace("/", "\\/"),
        escaped(user),
        user[:half] + escaped(user[half:]),
        json.dumps({"userId": user, "x": 1}),
        json.dumps({"creatorId": user, "deviceId": user}),
        json.dumps({"x": [{"y": user}], "creatorId": "c"}, ensure_ascii=False),
        f'{{"viewerId":"{escaped(user)}"}}',
        user.replace('"', '""'),
        f"x{user}",
        f"{user}x",
    ]
    found = [text.encode() for text in texts]
    found += [base64.b64encode(b"x" * before + b'"' + user.encode() + b'"') for before in range(3)]
    found += [user.encode("utf-16-le"), user.encode("latin-1", "replace"), base64.urlsafe_b64encode(user.encode())]
    return found


def test_how_a_text_is_cut_decides_nothing() -> None:
    """In pieces of any size an id is found, or not, as in the whole: also where zero bytes are left out."""
    for word, encoding in (("7", "utf-8"), ("7", "utf-16-le"), ("77", "utf-8"), ("7-", "utf-8"), ("x7", "utf-8")):
        content = b"\0" * 9 + b" " * 31 + f" {word} ".encode(encoding) + b" " * 40
        for size in range(1, 90):
            chunks = [content[at : at + size] for at in range(0, len(content), size)]
            assert IdMatcher("7").is_in_text(chunks) == (word == "7"), (encoding, word, size)


@settings(max_examples=300, deadline=None)
@given(IDS, st.lists(st.sampled_from('7 -a\x00é?>"~'), max_size=9), st.lists(st.sampled_from("7 -a?~"), max_size=5))
def test_how_base64_is_cut_decides_nothing(user: str, before: list[str], behind: list[str]) -> None:
    """In each of its alphabets, with slashes behind backslashes, and whatever letters stand beside it."""
    text = "".join([*before, user, *behind]).encode()
    matcher = IdMatcher(user)
    for letters in (
        base64.b64encode(text),
        base64.urlsafe_b64encode(text),
        base64.b64encode(text).replace(b"/", b"\\/"),
    ):
        content = b'ab="' + letters + b'" and more of it than an id is long: ' + b"." * 60
        whole = matcher.is_in_text([content])
        assert whole or len(user.encode()) < 3 or not matcher.is_in_bytes(text)
        for size in (1, 2, 3, 5, 7, 11, 31, 64):
            chunks = [content[at : at + size] for at in range(0, len(content), size)]
            assert matcher.is_in_text(chunks) == whole, (letters, size)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_many_ids_are_found_as_each_is(data: st.DataObject) -> None:
    """In bytes, in texts in pieces, in records; however each is spelt."""
    users = data.draw(st.lists(IDS, min_size=FEW + 1, max_size=FEW + 8, unique=True))
    parts = [part for user in users[:5] for part in spellings(user)] + [b"", b"a", b"\\", b'"', b"usr", b"\\u00", b"/"]
    separator = st.sampled_from([b"", b" ", b'"', b"\n", b","])
    pieces = data.draw(st.lists(st.tuples(st.sampled_from(parts), separator), max_size=6))
    content = b"".join(part + between for part, between in pieces)
    size = data.draw(st.integers(1, 40))
    chunks = [content[at : at + size] for at in range(0, len(content), size)]
    ids, each = IdMatchers.of(users), [IdMatcher(user) for user in users]
    assert ids.in_bytes(content) == {one.user for one in each if one.is_in_bytes(content)}
    assert ids.in_chunks(chunks) == {one.user for one in each if one.is_in_chunks(chunks)}
    assert ids.in_text(chunks) == {one.user for one in each if one.is_in_text(chunks)}
    lines = content.split(b"\n")
    assert ids.owners_of(lines) == [{one.user for one in each if one.is_owned(line)} for line in lines]
    cells = [line.decode("latin-1") for line in lines] + users[:2]
    header = ["viewerId"] * len(cells)
    assert ids.owners_of_cells(header, cells) == {one.user for one in each if one.is_in_cells(header, cells)}


def test_many_ids_of_a_usual_kind_are_looked_for_at_once() -> None:
    """Nothing is matched one by one where none of the ids stands: a thousand cost what ten do."""
    asked: list[str] = []

    class Counting(IdMatcher):
        def _is_in(self, *args: object, **kwargs: object) -> bool:
            asked.append(self.user)
            return super()._is_in(*args, **kwargs)  # type: ignore[arg-type]

    ids = IdMatchers(Counting(f"{number:024x}") for number in range(1000))
    text = "".join(f'{{"viewerId":"{number:024x}","title":"\\u00e9"}}\n' for number in range(5000, 6000)).encode()
    assert ids.in_text([text]) == set()
    assert ids.owners_of(text.splitlines()) == [set()] * 1000
    assert asked == []
    assert ids.in_text([text + b'"000000000000000000000007"']) == {f"{7:024x}"}
    assert set(asked) == {f"{7:024x}"}
