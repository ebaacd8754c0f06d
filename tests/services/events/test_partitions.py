"""Partitions: which one a day belongs to, and making them in a real database, by many at once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from threading import Barrier

import numpy as np
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from services.events.ingest.partitions import Partition, Partitions, month_of, partition_for
from shared.database import create_engine

NOW = 1_321_000_000_000_000  # 2011-11-11
TODAY = date(2011, 11, 11)


def micros(day: date, hour: int = 0) -> int:
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp()) * 1_000_000


def listed(engine: sqlalchemy.Engine) -> dict[str, tuple[str, str]]:
    """Names of the partitions of events and their bounds, from the catalogue."""
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SET TimeZone = 'UTC'"))
        rows = connection.execute(
            sqlalchemy.text("""
                SELECT relname, pg_get_expr(relpartbound, oid) FROM pg_class
                WHERE relispartition AND relkind = 'r' ORDER BY relname
            """)
        )
        return {name: (bound.split("'")[1][:10], bound.split("'")[3][:10]) for name, bound in rows}


@pytest.mark.parametrize(
    ("day", "today", "name"),
    [
        (date(2011, 11, 11), TODAY, "events_y2011m11"),
        (date(2011, 12, 31), TODAY, "events_y2011m12"),
        (date(2011, 1, 1), TODAY, "events_y2011m01"),
        (date(2009, 1, 31), TODAY, "events_y2009m01"),  # 2009 ended 22 months before this one
        (date(2008, 12, 31), TODAY, "events_y2008"),
        (date(2009, 12, 31), date(2011, 12, 31), "events_y2009m12"),
        (date(2009, 12, 31), date(2012, 1, 1), "events_y2009"),  # 24 months after its end
        (date(2000, 2, 29), TODAY, "events_y2000"),
    ],
)
def test_days_lie_in_months_for_two_years_and_in_years_before(day: date, today: date, name: str) -> None:
    partition = partition_for(day, today, [])
    assert partition.name == name
    assert partition.start <= day < partition.end


def test_a_year_with_a_month_of_its_own_is_never_made() -> None:
    june = month_of(date(2003, 6, 1))
    assert partition_for(date(2003, 6, 30), TODAY, [june]) == june
    assert partition_for(date(2003, 7, 1), TODAY, [june]).name == "events_y2003m07"
    assert partition_for(date(2004, 7, 1), TODAY, [june]).name == "events_y2004"


def test_a_year_that_exists_takes_all_its_days() -> None:
    year = partition_for(date(2003, 6, 1), TODAY, [])
    assert {partition_for(date(2003, month, 1), TODAY, [year]) for month in range(1, 13)} == {year}


@given(
    st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    st.lists(st.tuples(st.integers(0, 500), st.integers(-30 * 365, 60)), max_size=40),
)
def test_partitions_never_overlap_whatever_comes_when(today: date, steps: list[tuple[int, int]]) -> None:
    existing: set[Partition] = set()
    for passed, offset in steps:
        today += timedelta(days=passed)  # time goes on between events of any age
        day = max(today + timedelta(days=offset), date(2000, 1, 1))
        found = partition_for(day, today, existing)
        assert found.start <= day < found.end
        existing.add(found)
    ordered = sorted(existing)
    assert all(one.end <= other.start for one, other in pairwise(ordered))
    assert len({each.name for each in ordered}) == len(ordered)
    for each in ordered:
        months = (each.end.year - each.start.year) * 12 + each.end.month - each.start.month
        assert each.start.day == each.end.day == 1
        assert (months, each.name) in {
            (1, f"events_y{each.start:%Y}m{each.start:%m}"),
            (12, f"events_y{each.start:%Y}"),
        }


def test_the_current_month_and_two_ahead_are_made(engine: sqlalchemy.Engine) -> None:
    Partitions(engine).ensure_ahead(NOW)
    expected = {
        "events_y2011m11": ("2011-11-01", "2011-12-01"),
        "events_y2011m12": ("2011-12-01", "2012-01-01"),
        "events_y2012m01": ("2012-01-01", "2012-02-01"),
    }
    assert listed(engine) == expected
    Partitions(engine).ensure_ahead(NOW)  # by another replica
    assert listed(engine) == expected


def test_an_event_of_2003_lands_in_its_year(engine: sqlalchemy.Engine) -> None:
    days = [date(2003, 1, 1), date(2003, 12, 31), date(2011, 11, 30), date(2011, 12, 1)]
    times = [micros(days[0]), micros(days[1], 23), micros(days[2], 23), micros(days[3])]
    Partitions(engine).ensure(np.array(times, np.int64), NOW)
    with engine.begin() as connection:
        for time in times:
            connection.execute(
                sqlalchemy.text("""
                    INSERT INTO events (event_time, received_time, event_id, user_key, event_key, session_id)
                    VALUES (to_timestamp(:seconds), now(), gen_random_uuid(), 1, 1, 's')
                """),
                {"seconds": time / 1e6},
            )
        tables = connection.execute(
            sqlalchemy.text("SELECT tableoid::regclass::text FROM events ORDER BY event_time")
        ).scalars()
        assert [*tables] == ["events_y2003", "events_y2003", "events_y2011m11", "events_y2011m12"]
        indexes = connection.execute(
            sqlalchemy.text("SELECT count(*) FROM pg_indexes WHERE tablename = 'events_y2003'")
        ).scalar_one()
    assert indexes == 3  # by who, by event, of payments


def test_a_month_made_when_it_was_young_keeps_its_year_in_months(engine: sqlalchemy.Engine) -> None:
    Partitions(engine).ensure_days([date(2009, 6, 30)], NOW)
    later = micros(date(2013, 1, 1))
    Partitions(engine).ensure_days([date(2009, 6, 1), date(2009, 7, 1), date(2008, 7, 1)], later)
    assert list(listed(engine)) == ["events_y2008", "events_y2009m06", "events_y2009m07"]


def test_eight_replicas_make_each_partition_once(engine: sqlalchemy.Engine) -> None:
    days = [date(year, month, 15) for year in (2003, 2008, 2010, 2011) for month in (1, 6, 11)]
    together = Barrier(8)

    def make(replica: int) -> None:
        partitions = Partitions(engine)
        together.wait(timeout=30)
        mine = np.array([micros(day) for day in days[replica:] + days[:replica]], np.int64)
        partitions.ensure(mine, NOW)
        partitions.ensure_ahead(NOW)

    with ThreadPoolExecutor(8) as replicas:
        list(replicas.map(make, range(8)))
    months = [f"events_y{year}m{month}" for year in (2010, 2011) for month in ("01", "06", "11")]
    assert set(listed(engine)) == {
        "events_y2003",
        "events_y2008",
        *months,
        "events_y2011m12",
        "events_y2012m01",
    }


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "America/New_York"])
def test_bounds_are_read_right_in_any_session_time_zone(events_database: str, zone: str) -> None:
    url = sqlalchemy.make_url(events_database).update_query_dict({"options": f"-c TimeZone={zone}"})
    text = url.render_as_string(hide_password=False)
    engine = create_engine(text, schema="events", pool_size=2, application_name="test")
    try:
        for _ in range(2):  # the second has to read what the first made
            Partitions(engine).ensure_days([date(2003, 12, 31), date(2011, 11, 30)], NOW)
            Partitions(engine).ensure_days([date(2003, 1, 1), date(2011, 11, 1)], NOW)
        assert listed(engine) == {
            "events_y2003": ("2003-01-01", "2004-01-01"),
            "events_y2011m11": ("2011-11-01", "2011-12-01"),
        }
    finally:
        engine.dispose()
