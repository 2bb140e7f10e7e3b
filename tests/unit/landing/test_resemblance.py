"""An unknown field is named with the field of the contract that it resembles."""

from __future__ import annotations

import pytest

from pipelines.landing.resemblance import resembled_field
from pipelines.landing.schema import ENTITIES, landed_fields

FIELDS = {entity: [field.name for field in landed_fields(entity)] for entity in ENTITIES}


@pytest.mark.parametrize(
    ("entity", "name", "field"),
    [
        ("viewing_sessions", "viewerID", "viewerId"),
        ("viewing_sessions", "ViewerId", "viewerId"),
        ("viewing_sessions", "viewer-id", "viewerId"),
        ("viewing_sessions", "viewer", "viewerId"),
        ("viewing_sessions", "vieverId", "viewerId"),
        ("viewing_sessions", "user_id", "viewerId"),
        ("viewing_sessions", "userUUID", "viewerId"),
        ("viewing_sessions", "user.id", "viewerId"),
        ("viewing_sessions", "endTime", "endedAt"),
        ("viewing_sessions", "end_ts", "endedAt"),
        ("viewing_sessions", "stopped_at", "endedAt"),
        ("viewing_sessions", "start", "startedAt"),
        ("viewing_sessions", "is_deleted", "deleted"),
        ("viewing_sessions", "__deleted", "deleted"),
        ("viewing_sessions", "channel_id", "creatorId"),
        ("viewing_sessions", "anonymousId", "deviceId"),
        ("viewing_sessions", "session_uuid", "sessionId"),
        ("viewing_sessions", "rev", "revision"),
        ("pledges", "last_modified", "updatedAt"),
        ("pledges", "modified_time", "updatedAt"),
        ("pledges", "donation_id", "pledgeId"),
        ("pledges", "member_id", "userId"),
        ("pledges", "paid_at", "capturedAt"),
        ("creators", "last_name", "surname"),
        ("lls_streams", "created_at", "created"),
    ],
)
def test_it_resembles(entity: str, name: str, field: str):
    """Another spelling, a synonym, and a slip of the pen are recognised."""
    assert resembled_field(name, FIELDS[entity]) == field


@pytest.mark.parametrize(
    "name", ["country", "userAgent", "viewerCountry", "deviceType", "startedBy", "quality", "_", "", "ip", "bitrate"]
)
def test_it_resembles_nothing(name: str):
    """What is a fact of its own is no field of the contract."""
    assert resembled_field(name, FIELDS["viewing_sessions"]) is None


def test_every_field_resembles_itself():
    """In camelCase, snake_case and capitals, whatever else is in its contract."""
    for fields in FIELDS.values():
        for field in fields:
            for name in (field, field.upper(), "".join(f"_{c.lower()}" if c.isupper() else c for c in field)):
                assert resembled_field(name, fields) == field
