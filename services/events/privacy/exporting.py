"""Everything held about a person, as lines of JSON."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from services.events.domain import VALUE_SCALE, Selection, StoredEvent, UserKind, Who
from services.events.reading.listing import Listing, list_events
from services.events.whereabouts import read_whereabouts
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.encryption import BlindIndex, Keyring

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PAGE = 1_000

_IDS = """
SELECT user_key, kind, who_hash, who_encrypted, merged_into FROM users
WHERE user_key = %(key)s OR merged_into = %(key)s ORDER BY kind, user_key
"""

# Beside ids and events, what mentions a key.
_MENTIONS = {
    "merge_requests": """
        SELECT to_jsonb(merge_requests)::text FROM merge_requests
        WHERE anonymous_key = ANY(%(keys)s::int4[]) OR user_key = ANY(%(keys)s::int4[])
    """,
    "identity_log": """
        SELECT to_jsonb(identity_log)::text FROM identity_log
        WHERE from_key = ANY(%(keys)s::int4[]) OR to_key = ANY(%(keys)s::int4[])
    """,
    "audit_entries": """
        SELECT to_jsonb(audit_entries)::text FROM audit_entries WHERE subject = ANY(%(subjects)s::text[])
    """,
}


@dataclass(frozen=True)
class Exporter:
    """Reads all there is of a person."""

    engine: "Engine"
    keyring: Keyring
    index: BlindIndex

    def export(self, who: Who) -> Iterator[list[str]]:
        """Yield lines, some at a time; no transaction stays open in between."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            place = read_whereabouts(cursor, self.index, [who]).get(who)
            rows = []
            if place and place.key:
                rows = cursor.execute(_IDS, {"key": place.merged_into or place.key}).fetchall()
            keys = [row[0] for row in rows]
            names = {"keys": keys, "subjects": [f"key {key}" for key in keys]}
            mentions = [
                _line(table, **orjson.loads(text))
                for table, statement in _MENTIONS.items()
                for (text,) in (cursor.execute(statement, names).fetchall() if keys else ())
            ]
        erased = [] if place is None or place.erased is None else [_line("tombstones", erased=place.erased)]
        if keys or erased:
            yield [*erased, *map(self._id_line, rows), *mentions]
        yield from self._events(tuple(keys))

    def _id_line(self, row: tuple[Any, ...]) -> str:
        key, kind, who_hash, encrypted, merged_into = row
        text = self.keyring.decrypt(encrypted, who_hash).decode()
        kind_name = UserKind(kind).name.lower()
        return _line("users", kind=kind_name, id=text, user_key=key, merged_into=merged_into)

    def _events(self, keys: tuple[int, ...]) -> Iterator[list[str]]:
        position = None
        while keys:
            listing = Listing(Selection(), user_keys=keys, newest_first=False, limit=_PAGE, after=position)
            events, position = list_events(self.engine, listing)
            if events:
                yield list(map(_event_line, events))
            if position is None:
                return


def _event_line(event: StoredEvent) -> str:
    return _line(
        "events",
        event_id=event.event_id,
        user_key=event.user_key,
        anonymous_key=event.anonymous_key,
        session_id=event.session_id,
        event=event.event,
        category=event.category,
        event_time=to_datetime_utc(event.time),
        received_time=to_datetime_utc(event.received_time),
        value=None if event.value is None else event.value / VALUE_SCALE,
        properties=None if event.properties is None else orjson.Fragment(event.properties),
        page=event.page,
        referrer=event.referrer,
        user_agent=event.user_agent,
    )


def _line(table: str, **members: object) -> str:
    return orjson.dumps({"table": table, **members}).decode()
