"""Callers of the events service: what they were told is acknowledged, by the name of the event."""

import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from random import Random

import grpc
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, INTERVAL_WEEK, TimeRange
from brain.events.v1 import conversion_pb2, identity_pb2, overview_pb2, retention_pb2
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1 import metrics_pb2
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from brain.privacy.v1 import privacy_pb2
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from shared.calendar import DAY_MICROS, to_datetime_utc
from shared.timestamps import from_micros
from tests.faults.ledger import Ledger, Outcome, read
from tests.faults.load import Load
from tests.faults.made_events import START_MICROS, content, new_ids

SINGLE, STREAMED, FLEETING, CAPTURED = "visited", "streamed", "fleeting", "captured"
KNOWN_PEOPLE = 200
BATCH = 20
SENT_AGAIN = 5  # every so many batches, one that was sent before
STREAMED_BATCHES = 5
ERASED = 3  # every so many people, one is erased
# What long questions are asked about is there before and does not grow: else their memory would grow with it.
ASKED = ("seen", "put", "bought")
ASKED_EVENTS, ASKED_PEOPLE, ASKED_DAYS = 20_000, 500, 60
ASKED_MICROS = START_MICROS - ASKED_DAYS * DAY_MICROS
_SENT_AT_ONCE = 1_000


def event(name: str, user: str = "", anonymous: str = "") -> pb.Event:
    """Return an event of now."""
    return pb.Event(
        event_id=str(uuid.uuid4()),
        event_time=from_micros(time.time_ns() // 1000),
        event=name,
        user_id=user,
        anonymous_id=anonymous,
        session_id=f"session of {user or anonymous}",
        properties_json='{"plan": "team", "country": "DE"}',
        value=1.5,
    )


def asked_events(channel: grpc.Channel) -> Counter[str]:
    """Send the events that long questions are asked about; return how many there are of each name."""
    stub, random = EventsServiceStub(channel), Random(1)
    made = [_asked_event(number, random) for number in range(ASKED_EVENTS)]
    for start in range(0, ASKED_EVENTS, _SENT_AT_ONCE):
        stub.TrackEvents(pb.TrackEventsRequest(events=made[start : start + _SENT_AT_ONCE]))
    return Counter(each.event for each in made)


def _asked_event(number: int, random: Random) -> pb.Event:
    made = event(ASKED[number % len(ASKED)], f"asked {random.randrange(ASKED_PEOPLE)}")
    made.event_time.CopyFrom(from_micros(ASKED_MICROS + random.randrange(ASKED_DAYS * DAY_MICROS)))
    return made


class Batches:
    """Batches written to a ledger, some of them again and again."""

    def __init__(self, ledger: Ledger, channel: grpc.Channel) -> None:
        self._ledger = ledger
        self._load = Load(ledger, lambda _client: channel)
        self._stub = EventsServiceStub(channel)
        self._sent: deque[list[str]] = deque(maxlen=50)

    def round(self, number: int) -> None:
        """Send a batch."""
        again = self._sent and number % SENT_AGAIN == 0
        ids = self._sent[number % len(self._sent)] if again else new_ids(BATCH)
        answer = self._load.send(self._stub, ids)
        if answer.outcome is not Outcome.OK:
            raise RuntimeError(f"{answer.code} for {len(ids)} events")
        if answer.duplicates != (len(ids) if again else 0):
            raise RuntimeError(f"{answer.duplicates} duplicates of {len(ids)}")
        if not again:
            self._sent.append(ids)

    def acknowledged(self) -> Counter[str]:
        """Return how many different events were acknowledged, by name."""
        operations = [each for each in read(self._ledger.path) if each.answer.outcome is Outcome.OK]
        ids = {each for operation in operations for each in operation.ids}
        return Counter(content(each).name for each in ids)


class Singles:
    """Events one by one: of people met before, of new ones, and of strangers."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.acknowledged: Counter[str] = Counter()
        self._stub = EventsServiceStub(channel)

    def round(self, number: int) -> None:
        """Send one."""
        who = (
            {"user": f"known {number % KNOWN_PEOPLE}"},
            {"user": f"new {number}"},
            {"anonymous": f"stranger {number}"},
        )[number % 3]
        self._stub.TrackEvent(pb.TrackEventRequest(event=event(SINGLE, **who)))
        self.acknowledged[SINGLE] += 1


class Streams:
    """A stream of a few batches, to its end."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.acknowledged: Counter[str] = Counter()
        self._stub = EventsServiceStub(channel)

    def round(self, number: int) -> None:
        """Open one, send, and read every answer."""
        requests = (
            pb.TrackEventStreamRequest(
                events=[event(STREAMED, f"known {(number + each) % KNOWN_PEOPLE}") for each in range(BATCH)]
            )
            for _ in range(STREAMED_BATCHES)
        )
        for reply in self._stub.TrackEventStream(requests, timeout=30):
            self.acknowledged[STREAMED] += reply.accepted


class Identities:
    """People who are known by two names, which are linked; some ask to be forgotten, by every service."""

    def __init__(self, channels: Sequence[grpc.Channel]) -> None:
        self.acknowledged: Counter[str] = Counter()
        self._events = EventsServiceStub(channels[0])
        self._privacy = [PrivacyServiceStub(channel) for channel in channels]

    def round(self, number: int) -> None:
        """Meet somebody, link, and perhaps forget."""
        anonymous, user = f"browser {number}", f"fleeting {number}"
        sent = [event(FLEETING, anonymous=anonymous), event(FLEETING, user)]
        self._events.TrackEvents(pb.TrackEventsRequest(events=sent))
        self._events.LinkUser(identity_pb2.LinkUserRequest(user_id=user, anonymous_id=anonymous))
        if number % ERASED:
            self.acknowledged[FLEETING] += len(sent)
            return
        reference = pb.UserReference(kind=pb.USER_KIND_USER, id=user)
        for service in self._privacy:
            list(service.ExportUser(privacy_pb2.ExportUserRequest(user=reference)))
            erase = privacy_pb2.EraseUserRequest(user=reference, mode=privacy_pb2.ERASURE_MODE_ERASE)
            service.EraseUser(erase)


class Questions:
    """A question a round, one kind after the other."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._events = EventsServiceStub(channel)
        self._metrics = MetricSourceServiceStub(channel)
        self._kinds: Sequence[Callable[[], object]] = (*self._plain(), *self._long())

    def round(self, number: int) -> None:
        """Ask the next."""
        self._kinds[number % len(self._kinds)]()

    def _plain(self) -> Iterator[Callable[[], object]]:
        ask, recent, old = self._events, last_days, asked_range
        yield lambda: ask.CountEvents(pb.CountEventsRequest(time_range=recent(7), interval=INTERVAL_HOUR))
        yield lambda: ask.CountEvents(
            pb.CountEventsRequest(time_range=old(), group_by=pb.COUNT_GROUP_PROPERTY, group_property="plan")
        )
        yield lambda: ask.CountEvents(
            pb.CountEventsRequest(time_range=old(), interval=INTERVAL_DAY, time_zone="Asia/Kolkata")
        )
        yield lambda: ask.GetTopEvents(pb.GetTopEventsRequest(time_range=recent(7), with_users=True))
        yield lambda: ask.QueryEvents(
            pb.QueryEventsRequest(user_id="known 7", time_range=recent(1), page_size=20)
        )
        yield lambda: ask.QueryEvents(pb.QueryEventsRequest(time_range=recent(1), page_size=50))
        yield lambda: ask.GetActiveUsers(
            pb.GetActiveUsersRequest(time_range=old(), period=pb.ACTIVE_PERIOD_WEEK)
        )
        yield lambda: list(ask.ScanEvents(pb.ScanEventsRequest(events=ASKED, time_range=old())))

    def _long(self) -> Iterator[Callable[[], object]]:
        ask, recent, old = self._events, last_days, asked_range
        yield lambda: ask.GetRetention(
            retention_pb2.GetRetentionRequest(
                start_event=ASKED[0],
                return_events=ASKED[1:2],
                interval=INTERVAL_DAY,
                offset_days=[1, 7],
                time_range=old(),
            )
        )
        yield lambda: ask.GetLifecycle(
            retention_pb2.GetLifecycleRequest(interval=INTERVAL_DAY, time_range=old())
        )
        yield lambda: ask.GetStickiness(
            retention_pb2.GetStickinessRequest(interval=INTERVAL_WEEK, time_range=recent(7))
        )
        yield lambda: ask.GetConversionRate(
            conversion_pb2.GetConversionRateRequest(
                start_event=ASKED[0], end_event=ASKED[2], window_minutes=1440, time_range=old()
            )
        )
        yield lambda: ask.GetOverview(overview_pb2.GetOverviewRequest(time_range=old()))
        yield lambda: self._metrics.ListMetrics(metrics_pb2.ListMetricsRequest())
        yield lambda: self._metrics.ReadMetric(
            metrics_pb2.ReadMetricRequest(
                query=metrics_pb2.MetricQuery(
                    name="event_count",
                    labels={"event": SINGLE},
                    interval=INTERVAL_HOUR,
                    time_range=recent(1),
                )
            )
        )


def counted(channel: grpc.Channel, names: Sequence[str]) -> dict[str, int]:
    """Return how many events of each name CountEvents tells of."""
    stub = EventsServiceStub(channel)
    span = TimeRange(
        start_time=from_micros(ASKED_MICROS), end_time=from_micros(time.time_ns() // 1000 + DAY_MICROS)
    )
    found = {}
    for name in names:
        reply = stub.CountEvents(pb.CountEventsRequest(events=[name], time_range=span, include_sessions=True))
        found[name] = sum(each.events for each in reply.counts)
    return found


def last_days(days: int) -> TimeRange:
    """Return a range that ends with now."""
    now = time.time_ns() // 1000
    return TimeRange(start_time=from_micros(now - days * DAY_MICROS), end_time=from_micros(now))


def asked_range() -> TimeRange:
    """Return the range that long questions are asked about."""
    return TimeRange(start_time=from_micros(ASKED_MICROS), end_time=from_micros(START_MICROS))


def asked_days() -> tuple[date, date]:
    """Return the first and the last day of that range."""
    return to_datetime_utc(ASKED_MICROS).date(), to_datetime_utc(START_MICROS - 1).date()
