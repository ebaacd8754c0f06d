"""How PostgreSQL reads the half hours at the edges of days in zones such as India's."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy

from services.events.ingest.partitions import Partitions
from services.events.reading.plan import Plan
from services.events.reading.statements import from_rollups
from services.events.rollups.cover import ReportingCalendar
from shared.calendar import Interval, buckets, to_datetime_utc, to_micros
from shared.database import driver_cursor

KOLKATA = ZoneInfo("Asia/Kolkata")
START, END = datetime(2011, 1, 1, tzinfo=KOLKATA), datetime(2012, 1, 1, tzinfo=KOLKATA)

NAMES = "INSERT INTO event_types (event, category) SELECT 'e' || n, '' FROM generate_series(1, 4) AS n"
EVENTS = """
INSERT INTO events (user_key, event_time, event_id, event_key, received_time, session_id)
SELECT mod(number, 500) + 1, '2011-01-01 00:00+00'::timestamptz + make_interval(mins => number * 17),
       gen_random_uuid(), mod(number, 4) + 1, now(), 's'
FROM generate_series(0, 30000) AS number
"""


@pytest.fixture
def year(engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    """30,000 events of four names in twelve months, as PostgreSQL knows once it has counted them."""
    months = [date(2011, month, 1) for month in range(1, 13)]
    Partitions(engine).ensure_days([*months, date(2012, 1, 1)], to_micros(datetime(2011, 12, 31, tzinfo=UTC)))
    with engine.begin() as connection:
        for statement in (NAMES, EVENTS, "ANALYZE"):
            connection.exec_driver_sql(statement)
    return engine


@pytest.mark.parametrize("events", [["e1"], None])
@pytest.mark.parametrize("users", [True, False])
def test_each_half_hour_is_looked_up_in_the_index(
    year: sqlalchemy.Engine, events: list[str] | None, *, users: bool
) -> None:
    days = buckets(to_micros(START), to_micros(END), Interval.DAY, KOLKATA)
    plan = Plan.of(days, ReportingCalendar(ZoneInfo("UTC")))
    assert len(plan.raw) == 730
    parameters = plan.parameters() | {
        "events": events,
        "categories": None,
        "any_event": events is None,
        "sets": users,
        "total": False,
        "raw_starts": [to_datetime_utc(start) for start, _, _ in plan.raw],
        "raw_ends": [to_datetime_utc(end) for _, end, _ in plan.raw],
        "raw_buckets": [bucket for _, _, bucket in plan.raw],
    }
    statement = "EXPLAIN " + from_rollups(plan, users=users, names=events is not None)
    with year.begin() as connection, driver_cursor(connection) as cursor:
        lines = [line for (line,) in cursor.execute(statement.encode(), parameters).fetchall()]
    months = [line for line in lines if "events_y2011" in line]
    assert len(months) == 12
    assert all("Index Scan" in line for line in months), "\n".join(lines)
    compared = [line for line in lines if "Join Filter" in line and "sliver." in line]
    assert compared == [], "every event is compared with every half hour"
