"""Unary ingest: TrackEvent calls of one event each, by callers that wait for each answer.

Calls that arrive together share a transaction. Beside it: rows of the same size inserted and committed one
after another on one connection, which is what a caller without the service would do.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from brain.events.v1.events_pb2 import TrackEventRequest, TrackEventResponse

from benchmarks import data, measuring
from benchmarks.report import Line, milliseconds, per_second

if TYPE_CHECKING:
    import grpc
    import psycopg

    from benchmarks.stack import ServiceProcess, Stack

DATABASE = "unary"
CALLERS = (1, 16, 64)
USERS = 1_000  # all known to the service before it is measured
TRACK_EVENT = "/brain.events.v1.EventsService/TrackEvent"
_INSERT = b"""
INSERT INTO events.events (event_time, received_time, event_id, user_key, event_key, value, session_id, page,
                           referrer, user_agent, properties)
VALUES (now(), now(), gen_random_uuid(), 1, 1, %s, %s, %s, %s, %s, %s)
"""


def run(stack: "Stack", calls: int) -> list[Line]:
    """Measure each number of callers; `calls` calls by one, four times as many by several together."""
    stack.create(DATABASE)
    with stack.service(DATABASE) as service, stack.postgres.connect(DATABASE) as connection:
        track_all(service, requests_of(USERS, seed=1), 16)  # makes partitions, users and connections
        insert = measuring.seconds(lambda: _insert(connection, calls)) / calls
        lines = [_line(service, callers, calls, insert) for callers in CALLERS]
    stack.drop(DATABASE)
    return lines


def requests_of(count: int, seed: int) -> list[bytes]:
    """Return so many calls of one event each, of people met before."""
    events = data.recent(count, time.time_ns() // 1000, seed)
    known = replace(events, users=np.arange(count, dtype=np.int32) % USERS)
    return [TrackEventRequest(event=event).SerializeToString() for event in data.messages(known)]


def _line(service: "ServiceProcess", callers: int, calls: int, insert: float) -> Line:
    requests = requests_of(calls if callers == 1 else 4 * calls, seed=callers + 1)
    began = time.perf_counter()
    latencies = track_all(service, requests, callers)
    elapsed = time.perf_counter() - began
    return Line(
        f"TrackEvent, {callers} callers",
        f"{per_second(len(requests), elapsed)}, median {milliseconds(median(latencies))}",
        f"INSERT and COMMIT {per_second(1, insert)}",
        f"{len(requests) * insert / elapsed:.2f}",
    )


def track_all(service: "ServiceProcess", requests: list[bytes], callers: int) -> list[float]:
    """Send the requests by so many callers; return how long each call took."""
    with service.channel() as channel, ThreadPoolExecutor(callers) as pool:
        call: grpc.UnaryUnaryMultiCallable[bytes, TrackEventResponse] = channel.unary_unary(
            TRACK_EVENT, request_serializer=None, response_deserializer=TrackEventResponse.FromString
        )

        def track(request: bytes) -> float:
            return measuring.seconds(lambda: call(request, metadata=service.metadata, timeout=60))

        return list(pool.map(track, requests))


def _insert(connection: "psycopg.Connection[tuple[object, ...]]", count: int) -> None:
    profiles = data.profiles()
    for number in range(count):
        each = profiles[number % len(profiles)]
        texts = (data.session_id(number, 1), each.page, each.referrer, each.user_agent, each.properties_json)
        connection.execute(_INSERT, (number, *texts))
