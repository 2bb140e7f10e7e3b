"""One small platform in which everything happens, as tables in text (see world.py)."""

EVERYTHING = {
    "viewing_sessions": """
        session | source | revision | creator | viewer | device | started_at       | ended_at       | deleted
        s1      |        | 0        | ada     | v1     |        | 2026-01-05 10:00 |                  |
        s1      |        | 1        | ada     | v1     |        | 2026-01-05 10:00 | 2026-01-05 11:00 |
        s1      | app    | 1        | bob     | v1     |        | 2026-01-08 23:00 | 2026-01-09 02:00 |
        s2      |        | 4        | ada     | v2     |        | 2026-01-09 10:00 | 2026-01-09 11:00 |
        s2      |        | 5        | ada     | v2     |        | 2025-11-09 10:00 | 2025-11-09 11:00 |
        s3      |        | 0        | eve     | v2     |        | 2026-01-07 10:00 | 2026-01-07 11:00 |
        s3      |        | 1        | eve     | v2     |        | 2026-01-07 10:00 | 2026-01-07 11:00 | yes
        s4      |        | 2        | eve     | v3     | d1     | 2026-01-06 10:00 | 2026-01-06 11:00 |
        s4      |        | 2        | eve     |        | d1     | 2026-01-05 10:00 | 2026-01-06 10:00 |
        s5      |        | 0        | ada     |        | d1     | 2026-01-30 23:00 | 2026-01-31 10:00 |
        s6      |        | 0        | ada     |        |        | 2026-02-03 10:00 | 2026-02-03 11:00 |
        s7      |        | 0        | bob     | gone   |        | 2026-01-10 10:00 | 2026-01-10 11:00 |
        s8      |        | 0        | bob     | bob    |        | 2026-01-10 10:00 | 2026-01-10 11:00 |
        s9      |        | 0        | mal     | v1     |        | 2026-01-10 10:00 | 2026-01-10 11:00 |
    """,
    "creators": """
        creator | username | status  | updated_at
        ada     | ada1     | active  | 2026-01-01 10:00
        ada     | ada2     | active  | 2026-01-02 10:00
        mal     | mal      | banned  | 2026-01-02 10:00
        bob     | bob2     |         | 2026-01-02 10:00
        bob     | bob1     |         | 2026-01-02 10:00
    """,
    "live_streams": """
        stream | funding_goal | currency | updated_at
        s1     | 100          | TRY      | 2026-01-02 10:00
        s1     | 150          | TRY      | 2026-01-03 10:00
        s2     |              |          |
    """,
    "pledges": """
        pledge | user | stream | amount | status   | captured_at      | updated_at
        p1     | ann  | s1     | 10     | pending  |                  | 2026-01-05 10:00
        p1     | ann  | s1     | 10.50  | captured | 2026-01-06 10:00 | 2026-01-06 10:00
        p2     | gone | s1     | 20     | captured | 2026-01-06 10:00 | 2026-01-06 10:00
    """,
    "follows": """
        user | creator | deleted | updated_at
        ann  | ada     |         | 2026-01-05 10:00
        ann  | bob     | yes     | 2026-01-05 10:00
        ann  | bob     |         | 2026-01-05 10:00
        gone | ada     |         | 2026-01-05 10:00
    """,
    "replay_rentals": """
        user | stream | rented_at        | expires_at       | price
        ann  | s1     | 2026-01-05 10:00 | 2026-01-07 10:00 | 5
    """,
    "lls_streams": """
        id | domain | app | stream | created          | status
        l1 | d      | a   | one    | 2026-01-05 10:00 | active
    """,
    "erasures": """
        user
        gone
    """,
}
