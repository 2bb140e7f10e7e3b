"""What is encoded in a text is found the same wherever the text is cut, and of one id or of many."""

from __future__ import annotations

import base64
import bz2
import gzip
import json
import lzma
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.jobs import hidden_ids as module
from pipelines.jobs.id_matcher import FEW, IdMatcher, IdMatchers
from pipelines.jobs.id_search import hidden_ids, in_stream

SIZES = (1, 2, 3, 5, 7, 11, 31, 64, 1000)


def escaped(text: str, backslashes: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"{backslashes}u{units[at]:02x}{units[at + 1]:02X}" for at in range(0, len(units), 2))


def in_lines(letters: bytes, width: int, end: bytes = b"\n") -> bytes:
    return end.join(letters[at : at + width] for at in range(0, len(letters), width))


Encoding = Callable[[bytes], bytes]
WORDS: dict[str, Encoding] = {
    "percent": lambda text: b"".join(b"%%%02X" % each for each in text),
    "percent, twice": lambda text: quote("".join(f"%{each:02x}" for each in text)).encode(),
    "\\x": lambda text: b"".join(b"\\x%02x" % each for each in text),
    "entities": lambda text: "".join(f"&#{ord(each)};" for each in text.decode()).encode(),
    "entities of hexadecimal": lambda text: "".join(f"&#x{ord(each):x};" for each in text.decode()).encode(),
    "quoted-printable": lambda text: b"".join(b"=%02X" % each for each in text),
    "soft breaks": lambda text: b"=\r\n".join(b"=%02X" % each for each in text),
    "hexadecimal": lambda text: (b"." + text + b".").hex().encode(),
    "HEXADECIMAL of bytea": lambda text: b"\\\\x" + (b"." + text + b".").hex().upper().encode(),
    "JSON in JSON": lambda text: escaped(text.decode(), "\\\\").encode(),
    "base64 in lines": lambda text: in_lines(base64.b64encode(b"." + text + b"."), 4),
    "base64 in CRLF lines": lambda text: in_lines(base64.urlsafe_b64encode(b"." + text + b"."), 5, b"\r\n"),
    "base64 in lines in JSON": lambda text: in_lines(base64.b64encode(b"." + text + b"."), 7, b"\\r\\n"),
}
ARCHIVES: dict[str, Encoding] = {
    "gzip": lambda text: gzip.compress(text, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "zlib": zlib.compress,
}
WORDS |= {f"{name} in base64": lambda text, pack=pack: base64.b64encode(pack(text)) for name, pack in ARCHIVES.items()}
WORDS |= {
    f"{name} in base64 in lines": lambda text, pack=pack: in_lines(base64.b64encode(pack(text)), 20)
    for name, pack in ARCHIVES.items()
}
WORDS |= {
    f"{name} in base64 in PHP's JSON": lambda text, pack=pack: base64.b64encode(pack(text)).replace(b"/", b"\\/")
    for name, pack in ARCHIVES.items()
}

VALUES: dict[str, Encoding] = {
    **WORDS,
    **ARCHIVES,
    "plain": lambda text: text,
    "JSON": lambda text: json.dumps({"v": text.decode()}).encode(),
    "base64": lambda text: base64.b64encode(text).rstrip(b"="),
    "UTF-16": lambda text: text.decode().encode("utf-16-le"),
}

USER = "usr-7f3a"
USERS = st.one_of(
    st.sampled_from([USER, "usr-7f3", "ab/c\\d", "o'\"neil", "é日\U0001f600x", "a+b@c.example", "123456789"]),
    st.text("ab7-_/\\'\"é日\U0001f600", min_size=4, max_size=12),
)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[at : at + size] for at in range(0, len(content), size)]


def looked_through(content: bytes, size: int, ids: IdMatchers) -> tuple[set[str], bool]:
    hidden = hidden_ids(ids)
    for chunk in pieces(content, size):
        hidden.look(chunk)
        hidden.look_for_mentions(chunk)
    hidden.finish()
    return hidden.found, hidden.problem is not None


@pytest.mark.parametrize("kind", WORDS)
@settings(max_examples=25, deadline=None)
@given(
    user=USERS,
    before=st.sampled_from(["", "x", "7", " ", "q=", '"']),
    behind=st.sampled_from(["", "x", "7", " ", '"', "&"]),
    around=st.sampled_from(
        [(b"", b"\n"), (b'{"a":"', b'"}\n'), (b"a ", b" b"), (b"ab,", b",c\n"), (b"word\n", b"\nwords\n")]
    ),
)
def test_where_a_text_is_cut_decides_nothing(
    kind: str, user: str, before: str, behind: str, around: tuple[bytes, bytes]
) -> None:
    """An encoded text is found in pieces of any size as in the whole; and the id, where it is a word of that text."""
    text = (before + user + behind).encode()
    content = around[0] + WORDS[kind](text) + around[1] + b"\nand what follows it\n" * 3
    ids = IdMatchers.of([user])
    whole = looked_through(content, len(content), ids)
    is_word = IdMatcher(user).is_in_bytes(text)
    assert not is_word or user in whole[0] or whole[1], content
    assert not whole[1] or ("lines" in kind and b"word" in around[0])  # which are taken for a part of it
    for size in SIZES:
        assert looked_through(content, size, ids) == whole, (size, content)
    assert whole[1] or user in in_stream(pieces(content, 7), ids) or not is_word


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_word_that_is_too_long_to_wait_for_hides_nothing(data: st.DataObject) -> None:
    """More may be found at the places where it was cut, or named, and nothing less."""
    text = b"." * data.draw(st.integers(0, 300)) + f"/{USER}/".encode() + b"." * data.draw(st.integers(0, 300))
    content = data.draw(st.sampled_from([b"", b"0", b'"', b"a:"])) + WORDS[data.draw(st.sampled_from(sorted(WORDS)))](
        text
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_HELD_BYTES", 150)
        patch.setattr(module, "KEPT_BYTES", 110)
        found, problem = looked_through(content, data.draw(st.integers(1, 200)), IdMatchers.of([USER]))
    assert found == {USER} or problem or content[:1] == b"0"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_many_ids_are_found_as_each_is(data: st.DataObject) -> None:
    """Those that are a part of another one, too."""
    users = data.draw(st.lists(USERS, min_size=FEW + 1, max_size=FEW + 5, unique=True))
    parts: list[bytes] = []
    for user in users[:4]:
        text = data.draw(st.sampled_from(["{}", "x{}", "of {}", "{}7"])).format(user).encode()
        parts.append(WORDS[data.draw(st.sampled_from(sorted(WORDS)))](text))
    content = data.draw(st.sampled_from([b" ", b"\n", b'"', b","])).join(parts)
    size = data.draw(st.sampled_from([1, 10, 100, 10_000]))
    each = [looked_through(content, size, IdMatchers.of([user])) for user in users]
    many = looked_through(content, size, IdMatchers.of(users))
    assert many == (set().union(*(found for found, _ in each)), any(problem for _, problem in each)), content


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_values_of_a_column_are_looked_at_each_by_itself(data: st.DataObject) -> None:
    """What stands beside a value decides nothing, nor how many stand in one batch; one or many ids find the same."""
    users = data.draw(st.lists(USERS, min_size=FEW + 1, max_size=FEW + 3, unique=True))
    values: list[bytes] = []
    for user in users:
        kind = data.draw(st.sampled_from(sorted(VALUES)))
        text = data.draw(st.sampled_from(["{}", "of {}", "x{}"])).format(user)
        values.append(VALUES[kind](text.encode()))

    def looked_at(batches: list[list[bytes]], ids: IdMatchers) -> tuple[set[str], bool]:
        hidden = hidden_ids(ids)
        for batch in batches:
            hidden.look_at_values(batch)
        hidden.finish()
        return hidden.found, hidden.problem is not None

    alone = [looked_at([[value]], IdMatchers.of(users)) for value in values]
    expected = set().union(*(found for found, _ in alone)), any(problem for _, problem in alone)
    assert looked_at([values], IdMatchers.of(users)) == expected
    assert looked_at([[value] for value in values], IdMatchers.of(users)) == expected
    one_by_one = [looked_at([values], IdMatchers.of([user]))[0] for user in users]
    assert set().union(*one_by_one) == expected[0]


@pytest.mark.parametrize("user", [USER, "nobody-1"])
@pytest.mark.parametrize("pack", ARCHIVES)
def test_archives_one_a_line(pack: str, user: str) -> None:
    """Without anything else: none is taken for the rest of the one before."""
    texts = [f"{'.' * number}nobody".encode() for number in range(40)] + [f"of {user}".encode()] * 3
    content = b"".join(base64.b64encode(ARCHIVES[pack](text)).rstrip(b"=") + b"\n" for text in texts)
    for size in (7, 100, len(content)):
        assert looked_through(content, size, IdMatchers.of([USER, "nobody-1"])) == ({user}, False)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["usr-7f3a", "1234567"]),
    st.text('x7 "\\,:é', max_size=6),
    st.text('x7 "\\,:]}', max_size=6),
    st.integers(0, 20),
)
def test_a_mention_is_one_wherever_it_is_cut(user: str, before: str, behind: str, letters: int) -> None:
    """An id within a longer text is told from a cell, or a part of another word, by what stands beside it."""
    content = ("." * letters + before + user + behind + "." * 9).encode()
    whole = looked_through(content, len(content), IdMatchers.of([user]))
    for size in range(1, 30):
        assert looked_through(content, size, IdMatchers.of([user])) == whole, (size, content)
