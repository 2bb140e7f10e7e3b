"""The landed records' types: one class per entity, its fields in contract order, and the raw tables they become.

A class is the whole contract of an entity: the Python name is the raw column, the encoded name is the platform's
camelCase field, the annotation says what a value must be, a default says that the field may be absent or null. Beside
its fields it says whose record one is, and the rules over several fields. `RAW_SCHEMAS`, the parsers and `forget` are
derived from these classes, so they cannot disagree.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Meta, field

MAX_REVISION = 2**63 - 1  # what a BIGINT holds


class Instant(int):
    """Milliseconds since 1970-01-01T00:00:00Z."""


class Money(Decimal):
    """An amount of at least 0 and below 10^12, with exactly two decimals."""


class JsonObject(str):
    """Compact JSON text of a nested object, keys and numbers as they landed."""


class JsonArray(str):
    """Compact JSON text of a nested list, keys and numbers as they landed."""


MAX_ID_CHARS = 200  # as the API takes them; every id stands in many rows, on every page and in every answer
MAX_NAME_CHARS = 1_000
MAX_TEXT_CHARS = 10_000

Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]  # "" is rejected: an id that is not there is null
Source = Annotated[str, Meta(max_length=MAX_ID_CHARS)]  # a part of an id, and "" where there is one source alone
Username = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Revision = Annotated[int, Meta(ge=0, le=MAX_REVISION)]


Columns: TypeAlias = Mapping[str, pa.Array]
Violation: TypeAlias = tuple[str, str]  # (the landed field, the reason)

ENDED_BEFORE_STARTED = "endedAt is before startedAt"
CAPTURED_WITHOUT_INSTANT = "a captured pledge has no capturedAt"
REFUND_TOO_LARGE = "refundedAmount is greater than amount"


class Landed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every landed record is, and what a class of them says beside its fields."""

    entity: ClassVar[str]
    key: ClassVar[tuple[str, ...]]  # the columns that are equal in all versions of one thing
    person: ClassVar[str | None] = None  # the column whose id says whose record it is: `forget` removes it
    is_flat: ClassVar[bool] = True  # so that it may land as CSV
    spellings: ClassVar[Mapping[str, str]] = {}  # of fields, beside camelCase and snake_case
    rules: ClassVar[tuple[str, ...]] = ()  # the reasons that `violation` gives

    def violation(self) -> Violation | None:
        """The first rule over several fields that the record breaks."""
        return None

    @staticmethod
    def hold(columns: Columns) -> pa.Array | None:
        """The same rules over columns: true where all hold. None where there is no rule."""
        del columns
        return None


class ViewingSession(Landed, frozen=True, kw_only=True, rename="camel"):
    """Somebody, or an anonymous device, watching one creator from one instant to another."""

    entity = "viewing_sessions"
    key = ("source", "session_id")
    person = "viewer_id"
    rules = (ENDED_BEFORE_STARTED,)

    session_id: Id
    creator_id: Id
    started_at: Instant
    ended_at: Instant | None = None  # null: still open
    viewer_id: Id | None = None  # null: not signed in
    device_id: Id | None = None
    stream_id: Id | None = None
    source: Source = ""
    deleted: bool = False
    revision: Revision = 0

    def violation(self) -> Violation | None:
        """See Landed."""
        # safeguard: session-ends-after-its-start
        if self.ended_at is not None and self.ended_at < self.started_at:
            return "endedAt", ENDED_BEFORE_STARTED
        return None

    @staticmethod
    def hold(columns: Columns) -> pa.Array:
        """See Landed."""
        return pc.fill_null(pc.greater_equal(columns["ended_at"], columns["started_at"]), True)


class Creator(Landed, frozen=True, kw_only=True, rename="camel"):
    """A creator's profile. The photo is nested where it lands and flat in raw."""

    entity = "creators"
    key = ("creator_id",)
    is_flat = False

    creator_id: Id = field(name="_id")
    username: Username
    name: Name | None = None
    surname: Name | None = None
    availability_status: Text | None = None
    profile_photo_id: Id | None = field(name="profilePhoto._id", default=None)
    profile_photo_url: Text | None = field(name="profilePhoto.url", default=None)
    profile_photo_type: Text | None = field(name="profilePhoto.type", default=None)
    profile_photo_variants: JsonObject | None = field(name="profilePhoto.variants", default=None)
    profile_photo_created_at: Instant | None = field(name="profilePhoto.createdAt", default=None)
    profile_photo_updated_at: Instant | None = field(name="profilePhoto.updatedAt", default=None)
    expertise: Text | None = None
    status: Literal["active", "banned", "deleted"] | None = None
    updated_at: Instant | None = None


class LiveStream(Landed, frozen=True, kw_only=True, rename="camel"):
    """A planned, running or past live stream, perhaps crowd-funded."""

    entity = "live_streams"
    key = ("stream_id",)
    is_flat = False
    spellings: ClassVar[Mapping[str, str]] = {"_id": "id"}

    stream_id: Id = field(name="id")
    creator_id: Id
    status: Id
    title: Name | None = None
    live_stream_type: Text | None = None
    channel_name: Name | None = None
    broadcasters: JsonArray | None = None
    guests: JsonArray | None = None
    thumbnail_url: Text | None = None
    recording: bool | None = None
    recording_url: Text | None = None
    access_type: Text | None = None
    price: Money | None = None
    interest: Text | None = None
    duration_goal: Money | None = None
    motivation: Text | None = None
    is_active_replay_on_creator_profile: bool | None = None
    replay_credit_price: Money | None = None
    started_at: Instant | None = None
    planned_start_date: Instant | None = None
    ended_at: Instant | None = None
    planned_end_date: Instant | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    funding_goal: Money | None = None
    currency: Id | None = None
    mini_crowd_fundings: JsonArray | None = None


class Pledge(Landed, frozen=True, kw_only=True, rename="camel"):
    """What a user promised towards a live stream's funding goal, and what became of it."""

    entity = "pledges"
    key = ("pledge_id",)
    person = "user_id"
    rules = (CAPTURED_WITHOUT_INSTANT, REFUND_TOO_LARGE)

    pledge_id: Id
    user_id: Id
    stream_id: Id
    amount: Money
    currency: Id | None = None
    status: Literal["pending", "captured", "refunded", "failed"]
    captured_at: Instant | None = None
    refunded_at: Instant | None = None
    refunded_amount: Money | None = None
    updated_at: Instant | None = None

    def violation(self) -> Violation | None:
        """See Landed."""
        if self.status == "captured" and self.captured_at is None:
            return "capturedAt", CAPTURED_WITHOUT_INSTANT
        # safeguard: refund-within-its-pledge
        if self.refunded_amount is not None and self.refunded_amount > self.amount:
            return "refundedAmount", REFUND_TOO_LARGE
        return None

    @staticmethod
    def hold(columns: Columns) -> pa.Array:
        """See Landed."""
        dated = pc.or_(pc.not_equal(columns["status"], "captured"), pc.is_valid(columns["captured_at"]))
        return pc.and_(dated, pc.fill_null(pc.less_equal(columns["refunded_amount"], columns["amount"]), True))


class Follow(Landed, frozen=True, kw_only=True, rename="camel"):
    """A user following a creator, or no longer doing so."""

    entity = "follows"
    key = ("user_id", "creator_id")
    person = "user_id"

    user_id: Id
    creator_id: Id
    followed_at: Instant | None = None
    deleted: bool = False
    updated_at: Instant | None = None


class ReplayRental(Landed, frozen=True, kw_only=True, rename="camel"):
    """A user's right to watch a stream's recording until it expires."""

    entity = "replay_rentals"
    key = ("user_id", "stream_id", "rented_at")
    person = "user_id"

    user_id: Id
    stream_id: Id
    rented_at: Instant
    expires_at: Instant
    price: Money | None = None
    updated_at: Instant | None = None


class LlsStream(Landed, frozen=True, kw_only=True, rename="camel"):
    """A stream of the live streaming service, as its List Streams response names the fields."""

    entity = "lls_streams"
    key = ("stream_id",)
    is_flat = False  # it lands as that response

    stream_id: Id = field(name="id")
    domain: Id
    app: Id
    stream: Id
    created_at: Instant = field(name="created")
    updated_at: Instant | None = field(name="updated", default=None)
    latest_streaming_at: Instant | None = None
    status: Literal["active", "banned"]


class Erasure(Landed, frozen=True, kw_only=True, rename="camel"):
    """A user who asked to be forgotten."""

    entity = "erasures"
    key = ("user_id",)
    person = "user_id"

    user_id: Id
    erased_at: Instant | None = None


RECORDS: dict[str, type[Landed]] = {
    record.entity: record
    for record in (ViewingSession, Creator, LiveStream, Pledge, Follow, ReplayRental, LlsStream, Erasure)
}
ENTITIES: tuple[str, ...] = tuple(RECORDS)
FLAT_ENTITIES = frozenset(entity for entity, record in RECORDS.items() if record.is_flat)


class LandedField(typing.NamedTuple):
    """One field of a contract: where it lands, where it goes, what it must be."""

    name: str  # as the platform spells it, "profilePhoto._id" for a nested one
    column: str  # in raw
    kind: type  # str, int, bool, Instant, Money, JsonObject or JsonArray
    required: bool
    default: object  # of an absent or null value
    choices: tuple[str, ...]  # the only values it may have; empty: any
    min_chars: int  # of a text
    max_chars: int | None  # of a text that may be of any value
    annotation: typing.Any  # what msgspec checks a value against

    @property
    def is_id(self) -> bool:
        """Whether it is a short text that must be there: an id, mostly."""
        return self.kind is str and not self.choices and (self.min_chars, self.max_chars) == (1, MAX_ID_CHARS)


@functools.cache
def landed_fields(entity: str) -> tuple[LandedField, ...]:
    """The fields of an entity in contract order."""
    return tuple(_landed_field(info) for info in msgspec.structs.fields(RECORDS[entity]))


@functools.cache
def spellings(entity: str) -> dict[str, str]:
    """Every accepted spelling of an entity's fields -> the platform's.

    Nested fields stand with their path, "profilePhoto.createdAt", and their object ends in a dot, "profilePhoto.".
    """
    known = dict(RECORDS[entity].spellings)
    for each in landed_fields(entity):
        *path, name = each.name.split(".")
        prefix = "".join(f"{part}." for part in path)
        if prefix:
            known[prefix[:-1]] = known[snake_case(prefix[:-1])] = prefix
        known[prefix + name] = known[prefix + snake_case(name)] = each.name
    return known


def snake_case(name: str) -> str:
    """`startedAt` -> `started_at`; what is in snake_case already, or begins with `_`, stays."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda upper: "_" + upper[1].lower(), name)


def _landed_field(info: msgspec.structs.FieldInfo) -> LandedField:
    annotation = info.type
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        (annotation,) = (part for part in typing.get_args(annotation) if part is not type(None))
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else ()
    bounds = Meta()
    if typing.get_origin(annotation) is Annotated:
        annotation, bounds = typing.get_args(annotation)
    kind = str if choices else annotation
    default = None if info.required else info.default
    return LandedField(
        name=info.encode_name,
        column=info.name,
        kind=kind,
        required=info.required,
        default=default,
        choices=choices,
        min_chars=bounds.min_length or 0,
        max_chars=bounds.max_length,
        annotation=info.type,
    )


_ARROW_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    bool: pa.bool_(),
    Instant: pa.timestamp("ms", "UTC"),
    Money: pa.decimal128(18, 2),
    JsonObject: pa.string(),
    JsonArray: pa.string(),
}


def _raw_schema(entity: str) -> pa.Schema:
    columns = [
        pa.field(each.column, _ARROW_TYPES[each.kind], nullable=not each.required and each.default is None)
        for each in landed_fields(entity)
    ]
    return pa.schema([*columns, pa.field("line", pa.int64(), nullable=False)])


# The columns of raw, in contract order; `line` (or the row, or the place in a list) is where the record stood.
RAW_SCHEMAS: dict[str, pa.Schema] = {entity: _raw_schema(entity) for entity in ENTITIES}

REJECTS_SCHEMA = pa.schema(
    [
        pa.field("line", pa.int64(), nullable=False),
        pa.field("field", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
