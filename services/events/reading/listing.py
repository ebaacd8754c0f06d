"""Raw events in the order of time, a page at a time, without ever scanning a table from its end."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.events.distribution import is_spread
from services.events.domain import Selection, StoredEvent
from services.events.ingest.event_ids import original_id
from services.events.reading import conditions
from services.events.reading.conditions import type_parameters
from shared.calendar import to_datetime_utc, to_micros
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# A page ends early where its events are large.
PAGE_BYTES = 2_000_000

_COLUMNS = """event_id, event_id_text, user_key, anonymous_key, session_id, event, category, event_time,
       received_time, value, properties::text AS properties, page, referrer, user_agent"""

# The newest (or oldest) of each event type come from the index in order; merging them is cheap.
_BY_TYPE = """
SELECT {columns}
FROM event_types CROSS JOIN LATERAL (
    SELECT * FROM events WHERE events.event_key = event_types.event_key {where}
    ORDER BY event_time {order}, user_key {order}, event_id {order} LIMIT %(limit)s
) AS stored
WHERE {types}
ORDER BY event_time {order}, user_key {order}, event_id {order} LIMIT %(limit)s
"""

# Of events that are distributed the shards find their newest, by an index where `where` names people. One
# person's time line is the primary key's order.
_BY_USER = """
SELECT {columns}
FROM events JOIN event_types USING (event_key)
WHERE {types} {where}
ORDER BY event_time {order}, user_key {order}, event_id {order} LIMIT %(limit)s
"""

_PAGE = """
SELECT * FROM (
    SELECT *, count(*) OVER () AS listed, sum(bytes) OVER (
        ORDER BY event_time {order}, user_key {order}, event_id {order}
    ) - bytes AS bytes_before
    FROM (
        SELECT *, octet_length(concat(properties, page, referrer, user_agent)) + 500 AS bytes
        FROM ({listing}) AS listing
    ) AS measured
) AS summed
WHERE bytes_before < %(page_bytes)s
ORDER BY event_time {order}, user_key {order}, event_id {order} LIMIT %(limit)s - 1
"""

_TYPES = """(%(events)s::text[] IS NULL OR event = ANY(%(events)s::text[]))
      AND (%(categories)s::text[] IS NULL OR category = ANY(%(categories)s::text[]))"""


_BYTES, _LISTED = 14, 15  # columns behind those of the event


@dataclass(frozen=True, slots=True)
class Position:
    """The place of an event in the order: time in Unix µs, user key, stored id."""

    time: int
    user_key: int
    event_id: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Which events, in which order, how many, behind which."""

    selection: Selection
    user_keys: tuple[int, ...] | None = None
    anonymous_key: int | None = None
    session_id: str | None = None
    time_range: tuple[int, int] | None = None
    newest_first: bool = True
    limit: int = 100
    after: Position | None = None


def list_events(engine: "Engine", listing: Listing) -> tuple[list[StoredEvent], Position | None]:
    """Return at most `limit` events, and where the next page begins (None: there is none)."""
    clauses, parameters = _where(listing)
    parameters |= {
        **type_parameters(listing.selection),
        "limit": listing.limit + 1,
        "page_bytes": PAGE_BYTES,
    }
    order = "DESC" if listing.newest_first else "ASC"
    listed = _BY_TYPE if listing.user_keys is None and not is_spread(engine) else _BY_USER
    statement = _PAGE.format(
        order=order, listing=listed.format(columns=_COLUMNS, where=clauses, types=_TYPES, order=order)
    )
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        rows = cursor.execute(statement.encode(), parameters).fetchall()
    last = rows[-1] if rows and rows[0][_LISTED] > len(rows) else None
    position = None if last is None else Position(to_micros(last[7]), last[2], str(last[0]))
    return [_event(row[:_BYTES]) for row in rows], position


def _where(listing: Listing) -> tuple[str, dict[str, Any]]:
    clauses, parameters = conditions.to_sql(listing.selection.conditions)
    if listing.user_keys is not None:
        clauses += " AND user_key = ANY(%(user_keys)s::int4[])"
        parameters["user_keys"] = list(listing.user_keys)
    if listing.anonymous_key is not None:
        clauses += " AND anonymous_key = %(anonymous_key)s"
        parameters["anonymous_key"] = listing.anonymous_key
    if listing.session_id is not None:
        clauses += " AND session_id = %(session_id)s"
        parameters["session_id"] = listing.session_id
    if listing.time_range is not None:
        clauses += " AND event_time >= %(start_time)s AND event_time < %(end_time)s"
        start, end = listing.time_range
        parameters |= {"start_time": to_datetime_utc(start), "end_time": to_datetime_utc(end)}
    if listing.after is not None:
        comparison, bound = ("<", "<=") if listing.newest_first else (">", ">=")
        # The bound on the time alone lets partitions be left out.
        clauses += f" AND event_time {bound} %(after_time)s AND (event_time, user_key, event_id) {comparison}"
        clauses += " (%(after_time)s, %(after_user)s, %(after_id)s::uuid)"
        parameters |= {
            "after_time": to_datetime_utc(listing.after.time),
            "after_user": listing.after.user_key,
            "after_id": listing.after.event_id,
        }
    return clauses, parameters


def _event(row: tuple[Any, ...]) -> StoredEvent:
    event_id, id_text, user_key, anonymous_key, session_id, event, category, time, received = row[:9]
    return StoredEvent(
        original_id(event_id, id_text),
        user_key,
        anonymous_key,
        session_id,
        event,
        category,
        to_micros(time),
        to_micros(received),
        *row[9:],
    )
