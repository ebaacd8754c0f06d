"""The rules catch what they are about."""

import pytest

from tests.services.events.citus_rules import violations

COLUMNS = {
    "events": frozenset({"user_key", "event_time", "event_id", "event_key", "session_id"}),
    "event_types": frozenset({"event_key", "event"}),
}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("SELECT 1 FROM t CROSS JOIN LATERAL (SELECT 1 FROM events LIMIT 1) AS x", "LATERAL about events"),
        (
            "SELECT (SELECT event_time FROM events WHERE user_key = t.k) FROM t",
            "a subquery about events that depends on t.k",
        ),
        (
            "SELECT 1 FROM t WHERE EXISTS (SELECT FROM events WHERE user_key = k)",
            "a subquery about events that depends on k",
        ),
        ("SELECT 1 FROM events JOIN users USING (user_key)", "users beside events"),
        ("UPDATE events SET user_key = 1", "UPDATE of events"),
        ("INSERT INTO events (event_time) SELECT now()", "INSERT without user_key"),
        ("INSERT INTO events (user_key) SELECT 1 ON CONFLICT (event_id) DO NOTHING", "ON CONFLICT without"),
        (
            "INSERT INTO events (user_key) SELECT 1 ON CONFLICT (user_key) DO UPDATE SET value = 1",
            "ON CONFLICT DO UPDATE",
        ),
        ("SELECT 1 FROM events FOR UPDATE", "FOR UPDATE"),
        ("SELECT 1 FROM events TABLESAMPLE system (1)", "TABLESAMPLE"),
        ("SELECT count(*) FROM events GROUP BY ROLLUP (event_key)", "GROUPING SETS"),
        ("WITH RECURSIVE x AS (SELECT 1) SELECT 1 FROM x, events", "WITH RECURSIVE"),
        ("SELECT 1 FROM event_types LEFT JOIN events USING (event_key)", "an outer join"),
        ("SELECT 1 FROM events FULL JOIN event_types USING (event_key)", "an outer join"),
        ("SELECT 1 FROM events, pg_stat_get_activity(1)", "a function beside events"),
        ("SELECT 1 FROM events, (VALUES (1)) AS v(n)", "VALUES beside events"),
        ("SELECT ctid FROM events", "ctid"),
        ("DELETE FROM events WHERE event_id = gen_random_uuid()", "gen_random_uuid() in DELETE"),
        ("ALTER TABLE events DETACH PARTITION events_y2011 CONCURRENTLY", "DETACH PARTITION CONCURRENTLY"),
        ("ALTER TABLE events DETACH PARTITION events_y2011 FINALIZE", "DETACH PARTITION CONCURRENTLY"),
        ("DECLARE c CURSOR FOR SELECT 1 FROM events", "a cursor"),
        ("CREATE TEMP TABLE t AS SELECT 1 FROM events", "a table made from"),
        ("MERGE INTO events USING t ON false WHEN NOT MATCHED THEN DO NOTHING", "MERGE"),
        ("SELECT pg_try_advisory_lock_shared(1)", "pg_try_advisory_lock_shared"),
        ("LISTEN changes", "LISTEN"),
    ],
)
def test_a_breach_is_told(statement: str, expected: str) -> None:
    found = violations(statement, COLUMNS)
    assert any(each.startswith(expected) for each in found), found


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT event, count(*) FROM event_types JOIN events USING (event_key) GROUP BY event",
        (
            "SELECT position FROM unnest(%(keys)s::int4[]) WITH ORDINALITY AS sent(user_key, position)"
            " JOIN events USING (user_key)"
        ),
        "SELECT 1 FROM events LEFT JOIN event_types USING (event_key)",
        (
            "WITH gone AS (DELETE FROM events WHERE user_key = ANY(%(keys)s) RETURNING *),"
            " kept AS (INSERT INTO events (user_key) SELECT 1 FROM gone ON CONFLICT DO NOTHING RETURNING *)"
            " SELECT count(*) FROM gone UNION ALL SELECT count(*) FROM kept"
        ),
        "SELECT * FROM (SELECT event_time FROM events ORDER BY event_time LIMIT 5) AS page",
        "ALTER TABLE events DETACH PARTITION events_y2011",
        "SELECT pg_advisory_xact_lock_shared(1), pg_try_advisory_xact_lock(2)",
        "UPDATE users SET kind = 1 WHERE kind %% 2 = 0",
        "COPY events (user_key) FROM STDIN (FORMAT binary)",
        "CREATE TABLE events_y2011 (LIKE events INCLUDING DEFAULTS)",
    ],
)
def test_what_citus_takes_is_no_breach(statement: str) -> None:
    assert violations(statement, COLUMNS) == []
