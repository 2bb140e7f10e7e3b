"""Find the field of a contract that a field of another name probably is: viewerID, user_id, endTime, is_deleted.

It only ever suggests: nothing is read by what this says.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence, Set

from pipelines.landing.schema import ENTITIES, landed_fields, spellings

# Words that other programs use for each other in the names of fields. Of each line the first stands for all.
_SYNONYMS = (
    "person viewer user member account customer watcher subscriber profile uid backer donor fan follower",
    "creator channel streamer broadcaster host owner author publisher performer",
    "session view visit play playback watch viewing",
    "stream livestream broadcast show",
    "device client visitor anonymous anon cookie installation install fingerprint",
    "pledge donation contribution backing",
    "start started starts begin began begun joined join from",
    "end ended ends stop stopped finish finished left leave until to",
    "delete deleted deletion removed remove retracted tombstone",
    "update updated modified modify changed change",
    "create created creation inserted",
    "capture captured paid charged",
    "refund refunded reimbursed",
    "expire expires expired expiry expiration",
    "rent rented rental",
    "follow followed",
    "erase erased forgotten",
    "revision rev version sequence seq",
    "source origin provider",
    "status state",
    "amount sum total value",
    "currency ccy currencycode",
    "goal target",
    "username login handle nickname nick",
    "surname lastname familyname",
)
_CANONICAL = {word: words.split()[0] for words in _SYNONYMS for word in words.split()}
_IDS = frozenset({"id", "uuid", "guid", "key", "identifier", "no"})  # words that say: this is an id
_INSTANTS = frozenset({"at", "time", "timestamp", "ts", "date", "datetime", "on", "utc", "instant", "ms", "epoch"})
_IGNORED = frozenset({"is", "has", "was", "last", "the", "my", "field", "col", "column"})
_LEAST_RATIO = 0.8  # of difflib: a letter or two that are wrong in a name of eight


def resembled_field(name: str, fields: Sequence[str]) -> str | None:
    """Return which of a contract's `fields` a `name` resembles: spelled otherwise, a synonym, or misspelled.

    None where it resembles none. Of several the closest, then the first.
    """
    for like in (_squeezed, _meaning, _stem):
        wanted = like(name)
        found = next((field for field in fields if wanted and like(field) == wanted), None)
        if found is not None:
            return found
    close = {_squeezed(field): field for field in reversed(fields)}
    best = difflib.get_close_matches(_squeezed(name), list(close), n=1, cutoff=_LEAST_RATIO)
    return close[best[0]] if best else None


def entity_of_names(names: Set[str]) -> str | None:
    """The entity whose records have such fields: all that it needs, most of what it may have; None where none has."""
    best = max(ENTITIES, key=lambda entity: _fields_named(entity, names))
    return best if _fields_named(best, names) else None


def _fields_named(entity: str, names: Set[str]) -> int:
    """How many fields of an entity are among some names; 0 where one that it needs is not."""
    named = {field for spelling, field in spellings(entity).items() if spelling in names}
    needed = {field.name for field in landed_fields(entity) if field.required}
    return len(named) if needed <= named else 0


def _squeezed(name: str) -> str:
    """`viewer_ID` -> "viewerid"."""
    return re.sub(r"[\W_]+", "", name).lower()


def _meaning(name: str) -> tuple[str, ...]:
    """`isDeleted` -> (delete,), `user_uuid` -> (person, id), `endTime` -> (end, at), `last_name` -> (surname,)."""
    whole = _CANONICAL.get(_squeezed(name))
    return (whole,) if whole else tuple(_canonical(_split_words(name)))


def _stem(name: str) -> tuple[str, ...]:
    """The meaning without what says that it is an id or an instant: `viewer` -> (person,)."""
    return tuple(word for word in _meaning(name) if word not in ("id", "at"))


def _split_words(name: str) -> list[str]:
    """`viewerID` and `viewer-id` -> [viewer, id]."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_]+", name)]


def _canonical(split: Iterable[str]) -> Iterable[str]:
    for word in split:
        if word not in _IGNORED:
            yield "id" if word in _IDS else "at" if word in _INSTANTS else _CANONICAL.get(word, word)
