"""Why a whole landed file cannot be read, and what to do about it.

A reason names no value of the file, so that it can be stored and counted; the line it is about is the text of one
rejected record. `describe` makes a sentence for people of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.landing import suggestions
from pipelines.landing.nested_records import COLUMNS, SEVERAL_RECORDS, jq_filter
from pipelines.landing.records import MISSING
from pipelines.landing.schema import landed_fields
from pipelines.landing.values import NOT_JSON

HEADER_UNREADABLE = "the header cannot be read"
ONLY_WHITE_SPACE = "it holds nothing but white space"
ZEROS = "it holds zero bytes in place of a text, as after a writer that was cut off"
NO_RECORD = "nothing in it has a required field"
NO_TEXT = "a part of it is no text: it is in another encoding, compressed, or of another file"
SINGLE_BYTES = "the text is not UTF-8 but, as it seems, Latin-1, Windows-1252 or alike: land it as UTF-8"
OF_EVERY_RECORD = {NO_RECORD, SINGLE_BYTES}  # reasons that are not about one line
_LACKS = "the header lacks "
_REMEDY = "Land it again under the same name once it is right, or publish without it with --accept-rejects."


def lacking(missing: Sequence[str]) -> str:
    """The reason of a file whose header has no column for the required fields `missing`."""
    return f"{_LACKS}the required field{'s' * (len(missing) > 1)} {', '.join(missing)}"


def describe(entity: str, name: str, reason: str, text: str) -> str:
    """Say in sentences that a landed file cannot be read, why, and what to do.

    `text` is that of its rejected record: the header that was found, where the reason is about the header.
    """
    found = _found(reason, text)
    return " ".join([f"{name} cannot be read: {reason}.", *found, *_suggestions(entity, reason, text), _REMEDY])


def _found(reason: str, text: str) -> list[str]:
    what = "That record" if reason in (SEVERAL_RECORDS, COLUMNS) else "It"
    return [f"{what} begins with `{text[:_SHOWN_CHARS]}{'…' * (len(text) > _SHOWN_CHARS)}`."] if text else []


_SHOWN_CHARS = 300  # of a header; one with every field of the contract is shorter


def _suggestions(entity: str, reason: str, text: str) -> list[str]:
    """Sentences that say how the file could be read after all."""
    if reason == NO_RECORD and (suggestion := suggestions.of_rejections(entity, [(MISSING, text), (NOT_JSON, text)])):
        return [f"{suggestion.removesuffix('.')}."]
    if reason == COLUMNS:
        return [
            "Land an object for each record, which names its values, as pandas does by orient='records', lines=True."
        ]
    if reason == SEVERAL_RECORDS:
        if otherwise := suggestions.of_rejections(entity, [(NOT_JSON, text)]):  # what jq cannot read
            return [otherwise]
        envelope = suggestions.envelope_of_text(entity, text)
        if envelope is not None and envelope.is_change:  # the row before is no record of its own
            return [envelope.remedy()]
        chosen = jq_filter(entity, text)
        return [f"Land each of them by itself{f', as jq -c {chosen!r} writes them' if chosen else ''}."]
    if not reason.startswith(_LACKS):
        return []
    delimiter = suggestions.suspected_delimiter(text)
    said = [f"Its columns seem to be separated by {suggestions.DELIMITERS[delimiter]}."] if delimiter else []
    names = ", ".join(each.name for each in landed_fields(entity))
    suggestion = suggestions.of_header(entity, text)
    return [*said, f"{suggestion}." if suggestion else f"The first line must name the columns: {names}."]
