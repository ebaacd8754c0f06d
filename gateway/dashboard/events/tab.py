"""The tab Events: trend, most frequent events, live feed."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import BaseRoute, Route

from gateway.dashboard.events import first_event, trend
from gateway.dashboard.overview import headline
from gateway.dashboard.page import listing, top, visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from shared.validation import Violations

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.events.trend import Choice, Trend
    from gateway.dashboard.page.visits import Visit


@dataclass(frozen=True)
class EventsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the whole page."""
        visit, choice = await self._chosen(request)
        above, over_time, most, newest = await asyncio.gather(
            headline.read(visit),
            _trend(visit, choice),
            visit.questions.top(top.request(visit.scope)),
            visit.questions.events(listing.newest(listing.FEED_EVENTS)),
        )
        feed = newest if isinstance(newest, Failure) else listing.rows(newest.events, visit.scope.zone)
        values = {
            "overview": above,
            "choice": choice,
            "measures": trend.MEASURES,
            "breakdowns": trend.BREAKDOWNS,
            "trend": over_time,
            "top": most if isinstance(most, Failure) else top.top(most),
            "feed": feed,
            "paused": False,
            "first_event_command": _first_event(visit, request),
        }
        return visit.page("events.html", "events", choice.parameters(), values)

    async def feed(self, request: "Request") -> "Response":
        """Show the feed alone, as it asks for itself every few seconds unless it is paused."""
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        violations.raise_if_any()
        newest = await visit.questions.events(listing.newest(listing.FEED_EVENTS))
        rows = newest if isinstance(newest, Failure) else listing.rows(newest.events, visit.scope.zone)
        paused = request.query_params.get("paused") == "1"
        return visit.part("feed.html", "events", {"feed": rows, "paused": paused})

    async def trend_file(self, request: "Request") -> "Response":
        """Return the trend as CSV, with more groups than the chart has lines."""
        visit, choice = await self._chosen(request)
        request_counts = trend.request(choice, visit.scope, trend.EXPORTED_GROUPS)
        counted = answered(await visit.questions.count(request_counts))
        return visits.file("trend", *trend.exported(choice, visit.scope, counted))

    async def top_file(self, request: "Request") -> "Response":
        """Return the most frequent events as CSV, more of them than the page shows."""
        visit, _ = await self._chosen(request)
        most = answered(await visit.questions.top(top.request(visit.scope, top.EXPORTED)))
        return visits.file("top_events", top.CSV_HEADER, top.exported(most))

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        choice = trend.read(violations, request.query_params)
        violations.raise_if_any()
        return visit, choice


def _first_event(visit: "Visit", request: "Request") -> str:
    around = visit.surroundings
    scheme = "https" if around.secure_cookies else request.url.scheme
    return first_event.command(f"{scheme}://{request.url.netloc}", around.write_key, around.events_address)


async def _trend(visit: "Visit", choice: "Choice") -> "Trend | Failure":
    asked = [visit.scope]
    if visit.scope.compare and not choice.by:
        asked.append(visit.scope.previous())
    counted = await asyncio.gather(*(visit.questions.count(trend.request(choice, shown)) for shown in asked))
    good = [one for one in counted if not isinstance(one, Failure)]
    failed = [one for one in counted if isinstance(one, Failure)]
    return failed[0] if failed else trend.trend(choice, visit.scope, *good)


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = EventsTab(signing)
    return [
        Route("/events", tab.show, methods=["GET"]),
        Route("/events/trend.csv", tab.trend_file, methods=["GET"]),
        Route("/events/top.csv", tab.top_file, methods=["GET"]),
        Route("/feed", tab.feed, methods=["GET"]),
    ]


TAB: Final = Tab("events", "Events", _routes)
