"""What is sent to COPY, read back by a decoder written from PostgreSQL's description of the format.

https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format".
"""

import json
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.events.ingest.columns import read_columns
from services.events.ingest.incoming import read, read_each
from services.events.ingest.store import Rows, copy_data

NOW = 1_321_000_000_000_000
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.text(characters, max_size=8) | st.sampled_from(["x" * 2_000, "\N{GRINNING FACE}" * 2_000])
short = st.text(characters, min_size=1, max_size=8)
sent = st.builds(
    Event,
    event_id=short | st.uuids().map(str),
    session_id=short,
    event=st.just("e"),
    event_time=st.builds(
        Timestamp, seconds=st.integers(946_684_800, NOW // 1_000_000), nanos=st.integers(0, 999_999_999)
    ),
    value=st.none() | st.integers(-(10**12), 10**12).map(float),
    page=texts,
    referrer=texts,
    user_agent=texts,
    properties_json=st.just("")
    | st.dictionaries(short, st.integers(), min_size=1, max_size=3).map(json.dumps),
)


def decoded(data: bytes) -> list[list[bytes | None]]:
    """The fields of each tuple."""
    assert data[:11] == b"PGCOPY\n\xff\r\n\0"
    flags, extension = struct.unpack_from(">ii", data, 11)
    assert (flags, extension) == (0, 0)
    position, rows = 19, []
    while (number := struct.unpack_from(">h", data, position)[0]) != -1:
        position += 2
        row: list[bytes | None] = []
        for _ in range(number):
            [length] = struct.unpack_from(">i", data, position)
            position += 4
            row.append(None if length == -1 else data[position : position + length])
            position += max(length, 0)
        rows.append(row)
    assert position + 2 == len(data)
    return rows


def to_micros(stamp: Timestamp) -> int:
    return stamp.seconds * 1_000_000 + stamp.nanos // 1_000


@given(st.lists(sent, max_size=5), st.data())
def test_every_column_arrives_as_it_was_sent(events: list[Event], data: st.DataObject) -> None:
    batch, rejected = read(events, NOW)
    assert rejected == []
    keys = st.lists(st.integers(1, 2**31 - 1), min_size=len(events), max_size=len(events))
    some_keys = st.lists(st.integers(0, 3), min_size=len(events), max_size=len(events))
    user_keys, event_keys, anonymous_keys = data.draw(keys), data.draw(keys), data.draw(some_keys)
    rows = Rows(
        user_keys=np.array(user_keys, np.int32),
        times=np.array(batch.times, np.int64),
        ids=b"".join(batch.ids),
        event_keys=np.array(event_keys, np.int32),
        values=np.array(batch.values, np.int64),
        anonymous_keys=np.array(anonymous_keys, np.int32),
        tails=batch.tails,
    )
    assert decoded(copy_data(rows, NOW)) == [
        [
            struct.pack(">i", user_keys[row]),
            struct.pack(">q", to_micros(event.event_time) - 946_684_800_000_000),  # since 2000-01-01
            batch.ids[row],
            struct.pack(">i", event_keys[row]),
            struct.pack(">q", NOW - 946_684_800_000_000),
            struct.pack(">q", int(event.value) * 10**6) if event.HasField("value") else None,
            struct.pack(">i", anonymous_keys[row]) if anonymous_keys[row] else None,
            event.session_id.encode(),
            None if str(UUID(bytes=batch.ids[row])) == event.event_id else event.event_id.encode(),
            event.page.encode() or None,
            event.referrer.encode() or None,
            event.user_agent.encode() or None,
            b"\1" + event.properties_json.encode() if event.properties_json else None,  # jsonb, version 1
        ]
        for row, event in enumerate(events)
    ]


@given(st.lists(sent, max_size=6), st.floats(-1e12, 1e12))
def test_column_by_column_reads_what_event_by_event_reads(events: list[Event], amount: float) -> None:
    if events:
        events[-1].value = amount
    assert read_columns(events, NOW) == read_each(events, NOW)[0]


def test_a_uuid_is_sent_without_its_text() -> None:
    event_id = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"
    batch, _ = read(
        [Event(event_id=event_id, session_id="s", event="e", event_time=Timestamp(seconds=NOW // 10**6))], NOW
    )
    assert batch.ids == [UUID(event_id).bytes]
    assert event_id.encode() not in batch.tails[0]


def test_postgresql_counts_from_2000() -> None:
    assert datetime(2000, 1, 1, tzinfo=UTC) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
        seconds=946_684_800
    )
