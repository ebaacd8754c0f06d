"""Registers properties of a running service, and asks it everything about them."""

from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1 import properties_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.domain import Operator, Selection
from services.events.reading.by_property import BreakDown, PropertyCells
from services.events.reading.counting import GroupPage
from services.events.rollups.compaction import compact
from services.events.rollups.cover import ReportingCalendar
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values
from tests.services.events.conftest import Service
from tests.services.events.property_events import FIRST_SECOND, SECONDS, Sent
from tests.services.events.property_filters import FILTERS, filter_of
from tests.services.events.value_recount import values_recounted

RANGE = TimeRange(
    start_time=Timestamp(seconds=FIRST_SECOND - 90_000),
    end_time=Timestamp(seconds=FIRST_SECOND + SECONDS + 90_000),
)
READY, FILLING = properties_pb2.PROPERTY_STATE_READY, properties_pb2.PROPERTY_STATE_FILLING
KOLKATA = ZoneInfo("Asia/Kolkata")
TOO_MANY = properties_pb2.PROPERTY_STATE_TOO_MANY_VALUES


def zone_of(service: Service) -> str:
    with service.engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT reporting_time_zone FROM rollup_state").scalar_one()
    return str(found)


def register(service: Service, path: str, event: str = "") -> properties_pb2.RegisteredProperty:
    request = properties_pb2.RegisterPropertyRequest(property=path, event=event)
    return service.events.RegisterProperty(request).property


def unregister(service: Service, path: str, event: str = "") -> bool:
    request = properties_pb2.UnregisterPropertyRequest(property=path, event=event)
    return service.events.UnregisterProperty(request).unregistered


def listed(service: Service) -> dict[tuple[str, str], int]:
    found = service.events.ListProperties(properties_pb2.ListPropertiesRequest()).properties
    return {(each.property, each.event): each.state for each in found}


def fill(service: Service) -> None:
    while fill_one(service.engine, ReportingCalendar(ZoneInfo(zone_of(service)))):
        pass


def fold(service: Service) -> None:
    while compact(service.engine) + fold_values(service.engine):
        pass


def send(service: Service, sent: list[Sent]) -> None:
    batch = pb.TrackEventsRequest(events=[each.event for each in sent])
    assert service.events.TrackEvents(batch).accepted == len(sent)


def mismatches(service: Service, ready: int) -> list[str]:
    url = service.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        number, found = values_recounted(connection, zone_of(service))
    assert number == ready
    return found


def answers(service: Service) -> list[Any]:
    """What every question about properties answers, whatever answers it."""
    found: list[Any] = []
    for each in FILTERS:
        filters = [filter_of(*each)]
        count = pb.CountEventsRequest(time_range=RANGE, interval=INTERVAL_DAY, filters=filters)
        found.append(service.events.CountEvents(count))
    for zone in ("", "UTC", "Asia/Kolkata"):
        for events in ([], ["viewed"], ["viewed", "shared"]):
            for interval in (INTERVAL_DAY, INTERVAL_HOUR):
                count = pb.CountEventsRequest(
                    time_range=RANGE,
                    interval=interval,
                    time_zone=zone,
                    group_by=pb.COUNT_GROUP_PROPERTY,
                    group_property="plan",
                    events=events,
                    page_size=7,
                )
                found.append(service.events.CountEvents(count))
                count.page_token = found[-1].next_page_token
                found.append(service.events.CountEvents(count))
            active = pb.GetActiveUsersRequest(
                period=pb.ACTIVE_PERIOD_WEEK,
                time_range=RANGE,
                time_zone=zone,
                group_property="plan",
                events=events,
                filters=[filter_of("plan", Operator.EXISTS, ())],
            )
            found.append(service.events.GetActiveUsers(active))
    for by_type in (pb.COUNT_GROUP_EVENT, pb.COUNT_GROUP_CATEGORY):
        count = pb.CountEventsRequest(
            time_range=RANGE, group_by=by_type, filters=[filter_of("plan", Operator.EQUALS, ("gold",))]
        )
        found.append(service.events.CountEvents(count))
    return found


def is_served(service: Service, path: str = "plan", events: tuple[str, ...] | None = None) -> bool:
    calendar = ReportingCalendar(ZoneInfo(zone_of(service)))
    cells = PropertyCells(service.engine, calendar)
    bucket = (RANGE.start_time.ToMicroseconds(), RANGE.end_time.ToMicroseconds())
    asked = BreakDown(tuple(path.split(".")), GroupPage(10))
    return cells.served(asked, [bucket], Selection(events=events)) is not None


def recounted(service: Service, zone: ZoneInfo) -> tuple[int, list[str]]:
    url = service.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        return values_recounted(connection, zone.key)
