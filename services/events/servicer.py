"""The calls of EventsService that take events in and count them: each checks, asks, and converts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2 as pb

from services.events import answers, messages, questions
from services.events.ingest.tracking import Tracking
from services.events.reading.by_property import (
    BreakDown,
    PropertyCells,
    different_people,
    group_counts,
)
from services.events.reading.by_type import Dimension, count_by_type
from services.events.reading.counting import GroupPage, by_group, counts, sort_key
from services.events.reading.grouped import GroupedCounts
from services.events.reading.listing import list_events
from services.events.reading.scanning import Scanner
from services.events.reading.store import CellStore
from services.events.reading.value_cells import Values
from services.events.users import UserDictionary
from shared.pagination import encode_token
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc
    from sqlalchemy import Engine

    from services.events.questions import ActiveQuestion, CountQuestion
    from services.events.reading.cells import Cells
    from services.events.reading.counting import GroupCounts


@dataclass(frozen=True)
class EventCalls:
    """Takes events in, lists them, counts them."""

    tracking: Tracking
    engine: "Engine"
    cells: CellStore
    grouped: GroupedCounts
    properties: PropertyCells
    scanner: Scanner
    users: UserDictionary
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def TrackEvent(
        self, request: pb.TrackEventRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackEventResponse:
        """Store one event."""
        return self.tracking.track_one(request.event)

    def TrackEvents(
        self, request: pb.TrackEventsRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackEventsResponse:
        """Store a batch."""
        tracked = self.tracking.track(request)
        return pb.TrackEventsResponse(
            accepted=tracked.accepted,
            duplicates=tracked.duplicates,
            rejections=tracked.rejections,
            received_time=from_micros(tracked.received),
        )

    def TrackEventStream(
        self, request_iterator: "Iterator[pb.TrackEventStreamRequest]", context: "grpc.ServicerContext"
    ) -> "Iterator[pb.TrackEventStreamResponse]":
        """Store batch after batch."""
        for sequence, request in enumerate(request_iterator):
            tracked = self.tracking.track(request)
            yield pb.TrackEventStreamResponse(
                sequence=sequence,
                accepted=tracked.accepted,
                duplicates=tracked.duplicates,
                rejections=tracked.rejections,
                received_time=from_micros(tracked.received),
            )

    def QueryEvents(
        self, request: pb.QueryEventsRequest, context: "grpc.ServicerContext"
    ) -> pb.QueryEventsResponse:
        """List raw events."""
        question = questions.list_question(request)
        listing = question.listing
        if question.people:
            found = self.users.whereabouts(list(question.people))
            listing = answers.of_people(listing, [found.get(who) for who in question.people])
        stored, position = list_events(self.engine, listing)
        people = self.users.read(
            {key for event in stored for key in (event.user_key, event.anonymous_key) if key}
        )
        token = (
            encode_token(request, [position.time, position.user_key, position.event_id]) if position else ""
        )
        return pb.QueryEventsResponse(events=messages.to_events(stored, people), next_page_token=token)

    def ScanEvents(
        self, request: pb.ScanEventsRequest, context: "grpc.ServicerContext"
    ) -> "Iterator[pb.ScanEventsResponse]":
        """Streams packed columns."""
        scan, known = questions.scan_question(request)
        found = (
            message
            for chunk in self.scanner.scan(scan, known)
            if not (chunk.unchanged and request.omit_unchanged)
            for message in answers.scan_messages(chunk, request.properties)
        )
        yield from answers.grouped(found) if request.group_chunks else found

    def CountEvents(
        self, request: pb.CountEventsRequest, context: "grpc.ServicerContext"
    ) -> pb.CountEventsResponse:
        """Count over time and by a dimension."""
        question = questions.count_question(request, self.reporting_zone)
        groups = self._groups(question)
        page, rest = groups[: question.page.limit], groups[question.page.limit :]
        token = encode_token(request, [page[-1].events, sort_key(page[-1].group)]) if rest else ""
        people = {}
        if question.group_by == pb.COUNT_GROUP_USER:
            people = self.users.read([int(group.group or 0) for group in page])
        return pb.CountEventsResponse(
            counts=answers.event_counts(question, page, people, self.clock()),
            time_zone=messages.zone_name(question.zone),
            next_page_token=token,
        )

    def _groups(self, question: "CountQuestion") -> "list[GroupCounts]":
        """Return the groups from the page's first on, one more than the page holds at the least."""
        page = GroupPage(question.page.limit + 1, question.page.after)
        scope = (question.buckets, question.selection, question.population, page)
        if question.group_by == pb.COUNT_GROUP_USER:
            return self.grouped.by_user(*scope)
        if question.group_by == pb.COUNT_GROUP_PROPERTY:
            return self._by_property(question)
        if question.group_by == pb.COUNT_GROUP_UNSPECIFIED:
            cells = self.cells.read(question.buckets, question.selection)
            return [answers.ungrouped(counts(cells.merged(len(question.buckets)), question.population))]
        dimension = Dimension.EVENT if question.group_by == pb.COUNT_GROUP_EVENT else Dimension.CATEGORY
        return count_by_type(
            self.cells, dimension, question.buckets, question.selection, (question.population, page)
        )

    def _by_property(self, question: "CountQuestion") -> "list[GroupCounts]":
        page = GroupPage(question.page.limit + 1, question.page.after)
        values = self.properties.served(BreakDown(question.path, page), question.buckets, question.selection)
        if values is not None:
            return group_counts(values, len(question.buckets), question.population)
        return self.grouped.by_property(
            question.path, question.buckets, question.selection, question.population, page
        )

    def GetTopEvents(
        self, request: pb.GetTopEventsRequest, context: "grpc.ServicerContext"
    ) -> pb.GetTopEventsResponse:
        """List the most frequent events."""
        question = questions.top_question(request)
        cells = self.cells.read(
            [question.bucket],
            question.selection,
            by_type=True,
            users=request.with_users,
            sets=request.with_users,
        )
        people = messages.population(include_sessions=False)
        groups = by_group(cells, 1, people, lambda name: name[0])
        return answers.top_events(groups, question.limit, with_users=request.with_users)

    def GetActiveUsers(
        self, request: pb.GetActiveUsersRequest, context: "grpc.ServicerContext"
    ) -> pb.GetActiveUsersResponse:
        """Count active people."""
        now = self.clock()
        question = questions.active_question(request, self.reporting_zone, now)
        token = ""
        groups: dict[str | None, Cells]
        if question.break_down is None:
            groups = {None: self.cells.read(question.periods, question.selection)}
        else:
            groups, last = self._page_of_values(question.break_down, question)
            token = encode_token(request, last) if last else ""
        return pb.GetActiveUsersResponse(
            active_users=[
                active
                for value, cells in groups.items()
                for active in answers.active_users(question.periods, question.people(cells), now, value)
            ],
            time_zone=messages.zone_name(question.zone),
            next_page_token=token,
        )

    def _page_of_values(
        self, break_down: BreakDown, question: "ActiveQuestion"
    ) -> tuple[Values, tuple[int, str] | None]:
        """Return the values of a page, and the position of the last where more follow."""
        limit = break_down.page.limit
        one_more = replace(break_down, page=replace(break_down.page, limit=limit + 1))
        values = self.properties.read(one_more, question.periods, question.selection)
        page = dict(islice(values.items(), limit))
        if len(values) == len(page):
            return page, None
        value, cells = next(reversed(page.items()))
        return page, (different_people(cells, question.population), sort_key(value))
