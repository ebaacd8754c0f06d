import time
import numpy as np
from zoneinfo import ZoneInfo
from datetime import datetime, UTC
from shared.database import driver_cursor
from services.events.distribution import note_distribution
from services.events.reading.scanning import Scanner, Scan
from services.events.reading.listing import Listing, list_events
from services.events.reading.orders import _RAW, _raw
from services.events.conversion.first_activity import first_activity
from services.events.ingest.store import STORED, _JOIN, _LOOK
from services.events.ingest.partitions import Partitions
from services.events.domain import Selection
from services.events.reading import statements
from shared.packed_arrays import *
from services.events.value_rollups.registrations import STORING_LOCK
from shared.packed_arrays import PackedArray
from services.events.ingest import store as st

D0 = 1_312_934_400
def test_forms(engine):
    n = 400_000
    p = Partitions(engine)
    now = (D0 + 95*86400)*1_000_000
    p.ensure(np.arange(D0, D0+92*86400, 86400)*1_000_000, now)
    with engine.begin() as c:
        c.exec_driver_sql("INSERT INTO event_types (event, category) SELECT 'e' || g, '' FROM generate_series(1, 10) g")
        c.exec_driver_sql(f"INSERT INTO events (event_time, received_time, event_id, user_key, event_key, session_id) SELECT to_timestamp({D0} + (g * 7919::int8) %% (90*86400)), now(), md5(g::text)::uuid, 1 + g %% 20000, 1 + g %% 10, 's' || g %% 5000 FROM generate_series(1, {n}) g")
        c.exec_driver_sql("INSERT INTO event_hours (event_key, hour, events, value_sum, revision, known, people, actors, user_keys) SELECT event_key, extract(epoch from date_trunc('hour', event_time))::int8/3600, count(*), 0, 0, 0, 0, 0, '' FROM events GROUP BY 1, 2")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.exec_driver_sql("VACUUM ANALYZE events")
    with engine.connect() as c:
        rows = c.exec_driver_sql("SELECT user_key, (extract(epoch from event_time)*1000000)::int8, event_id FROM events ORDER BY md5(event_id::text) LIMIT 5000").all()
    keys = np.array([r[0] for r in rows], np.int32); times = np.array([r[1] for r in rows], np.int64); ids = np.frombuffer(b"".join(r[2].bytes for r in rows), "V16")
    cols = {"lock": STORING_LOCK, "user_keys": PackedArray(keys, st.INT4), "times": PackedArray(times - st.POSTGRES_EPOCH_MICROS, st.TIMESTAMPTZ), "ids": PackedArray(ids, st.UUID)}
    def look():
        with engine.begin() as c, driver_cursor(c) as cur:
            assert len(cur.execute(STORED.of(c).encode(), cols).fetchall()) == 5001
    day = D0 // 86400
    def scan():
        s = Scan(("e1", "e2"), (day, day + 90), Selection(("e1","e2")), False, ())
        assert sum(len(x.user_keys) for x in Scanner(engine).scan(s, {})) == n // 5
    starts = [datetime.fromtimestamp(D0 + d*86400 + 18*3600 + 1800*k, UTC) for d in range(60) for k in (0, 1)]
    ends = [datetime.fromtimestamp(t.timestamp() + 1800, UTC) for t in starts]
    def slivers():
        raw = statements._SPREAD_RAW if engine.get_execution_options().get("events_are_distributed") else statements._RAW
        with engine.begin() as c, driver_cursor(c) as cur:
            cur.execute(("WITH selected AS (SELECT event_key FROM event_types) " + raw).encode(), {"raw_starts": starts, "raw_ends": ends, "raw_buckets": list(range(120))}).fetchall()
    def newest():
        list_events(engine, Listing(Selection(), limit=100))
    def first():
        first_activity(engine, np.arange(1, 5001, dtype=np.int32))
    hours = [(k, day*24 + h) for k in range(1, 3) for h in range(0, 500)]
    def orders():
        with engine.begin() as c, driver_cursor(c) as cur:
            _raw(cur, _RAW.of(c), hours)
    for f in (look, scan, slivers, newest, first, orders):
        best = {False: 9e9, True: 9e9}
        for _ in range(6):
            for form in (False, True):
                note_distribution(form, engine)
                a = time.perf_counter(); f(); best[form] = min(best[form], time.perf_counter() - a)
        print(f"{f.__name__}: look {best[False]*1e3:.1f} ms, join {best[True]*1e3:.1f} ms, {best[True]/best[False]:.2f}")
    assert 0
