"""The tab Alerts."""

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.alerts.v1 import alerts_pb2 as pb
from starlette.routing import BaseRoute, Route

from gateway.dashboard.alerts import acts, asking, chart, log, rules, table, words
from gateway.dashboard.overview import headline
from gateway.dashboard.page import visits
from gateway.dashboard.page.answers import Failure, answered
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.page.tab import Tab
from shared.validation import Violations, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit

_LONGEST_KEY: Final = 100
_LONGEST_TOKEN: Final = 2_000
_EXPORTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What the page shows besides the list. It lives in its address."""

    key: str
    # Only looks that changed something.
    changes: bool
    # Of a page of older history.
    page: str
    rule: rules.Choice

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        given = {"key": self.key, "changes": "1" if self.changes else "", "page": self.page}
        return {name: value for name, value in given.items() if value} | self.rule.parameters()


@dataclass(frozen=True, slots=True)
class One:
    """One alert as its part of the page shows it."""

    line: table.Listed
    # What may be done with it, by the names of the routes.
    acts: tuple[str, ...]
    # Whom it tells, by channel.
    tells: str
    past: "chart.Past | Failure"
    looks: list[log.Look] | Failure
    # The token of the next page of looks; empty: there is none.
    older: str
    told: list[log.Told] | Failure


@dataclass(frozen=True)
class AlertsTab:
    """The handlers of the tab."""

    signing: SigningIn

    async def show(self, request: "Request") -> "Response":
        """Show the list, one alert, silences and ready-made rules."""
        visit, choice = await self._chosen(request)
        above, found, silent, rules = await asyncio.gather(
            headline.read(visit),
            asking.listed(visit),
            asking.silences(visit),
            asking.ready_made(visit),
        )
        values: dict[str, object] = {"overview": above, "choice": choice, "key": choice.key, "one": None}
        # A form that is sent twice makes one silence.
        values |= {"hours": acts.HOURS, "silence_id": str(uuid4())}
        values |= {"listed": found} if isinstance(found, Failure) else await _listed(visit, choice, found)
        now, zone = visit.scope.now, visit.scope.zone
        if not isinstance(silent, Failure):
            values["silences"] = [log.silenced(each, now, zone) for each in silent.silences]
        if not isinstance(rules, Failure):
            values |= await _offered(visit, choice, rules)
        return visit.page("alerts.html", "alerts", choice.parameters(), values)

    async def file(self, request: "Request") -> "Response":
        """Return the history of an alert as CSV."""
        visit, choice = await self._chosen(request)
        found = answered(await asking.history(visit, choice.key, size=_EXPORTED, changes_only=choice.changes))
        rows = log.exported(found.entries, visit.scope.zone)
        return visits.file(f"alert-{choice.key}", log.CSV_HEADER, rows)

    async def _chosen(self, request: "Request") -> "tuple[Visit, Choice]":
        violations = Violations()
        visit = await visits.arrived(self.signing, request, violations)
        given = request.query_params
        choice = Choice(
            text(violations, "key", given.get("key", ""), maximum=_LONGEST_KEY, required=False),
            given.get("changes", "") == "1",
            text(violations, "page", given.get("page", ""), maximum=_LONGEST_TOKEN, required=False),
            rules.read(violations, given),
        )
        violations.raise_if_any()
        return visit, choice


async def _listed(visit: "Visit", choice: Choice, found: pb.ListAlertsResponse) -> dict[str, object]:
    """Return the list, and the chosen alert."""
    alerts = found.alerts
    units = await asking.units_of(visit, {each.definition.metric.source for each in alerts})
    measured = [(each, words.measure_of(each.definition, units, _currency(visit))) for each in alerts]
    key = choice.key or table.first(alerts)
    return {
        "listed": [table.listed(each, measure, visit.scope) for each, measure in measured],
        "summary": table.summary(alerts),
        "more": bool(found.next_page_token),
        "key": key,
        "one": await _one(visit, replace(choice, key=key), units) if key else None,
    }


async def _one(visit: "Visit", choice: Choice, units: "Mapping[tuple[str, str], str]") -> "One | Failure":
    """Return one alert, what its rule would have done, what was seen and what was told."""
    found = await asking.one(visit, choice.key)
    if isinstance(found, Failure):
        return found
    alert, zone = found.alert, visit.scope.zone
    measure = words.measure_of(alert.definition, units, _currency(visit))
    past, looks, ledger = await asyncio.gather(
        asking.past(visit, alert.definition, measure),
        asking.history(visit, choice.key, choice.page, changes_only=choice.changes),
        asking.deliveries(visit, choice.key),
    )
    return One(
        line=table.listed(alert, measure, visit.scope),
        acts=table.acts(alert),
        tells=table.tells(alert),
        past=past,
        looks=looks
        if isinstance(looks, Failure)
        else [log.look(each, measure, zone) for each in looks.entries],
        older="" if isinstance(looks, Failure) else looks.next_page_token,
        told=ledger if isinstance(ledger, Failure) else [log.told(each, zone) for each in ledger.deliveries],
    )


async def _offered(visit: "Visit", choice: Choice, found: pb.ListReadyMadeRulesResponse) -> dict[str, object]:
    """Return the ready-made rules, and what the chosen one would have done."""
    offered: dict[str, object] = {
        "rules": rules.rules(found),
        "kinds": tuple(rules.KINDS),
        "rule": None,
        "tried": None,
    }
    if choice.rule.rule:
        units = await asking.units_of(visit, {each.definition.metric.source for each in found.rules})
        rule = rules.filled(found, choice.rule, units, _currency(visit))
        offered["rule"] = rule
        if rule is not None and not rule.missing:
            measure = words.measure_of(rule.definition, units, _currency(visit))
            offered["sentence"] = words.rule(rule.definition, measure)
            offered["tried"] = await asking.past(visit, rule.definition, measure)
    return offered


def _currency(visit: "Visit") -> str:
    return visit.surroundings.currency


def _routes(signing: SigningIn) -> list[BaseRoute]:
    tab = AlertsTab(signing)
    return [
        Route("/alerts", tab.show, methods=["GET"]),
        Route("/alerts/history.csv", tab.file, methods=["GET"]),
        *acts.routes(signing),
    ]


TAB: Final = Tab("alerts", "Alerts", _routes)
