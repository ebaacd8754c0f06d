"""What stands around every view: the top bar, the tabs, who is signed in."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import urlencode
from zoneinfo import available_timezones

from gateway.dashboard.page import formats
from gateway.dashboard.page.scope import RANGE_TITLES, Scope

PREFIX: Final = "/admin/analytics"
THEMES: Final = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Link:
    """A title, where it leads, and whether the page is there already."""

    title: str
    address: str
    current: bool


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks, and what their browser keeps."""

    subject: str
    # What the forms of this browser carry.
    proof: str
    # Whether there is a token to forget; there is none where nobody has to sign in.
    is_signed_in: bool
    # Whether their token allows what changes things; the services decide all the same.
    may_change: bool
    # One of THEMES; empty follows the system.
    theme: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of an action, shown once."""

    text: str
    # Whether it failed.
    trouble: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What the frame's template shows."""

    title: str
    environment: str
    person: Person
    prefix: str
    # The address of this view without its query, and the query.
    path: str
    query: str
    tabs: tuple[Link, ...]
    ranges: tuple[Link, ...]
    # The view's own parameters, which forms of the frame keep.
    own: Mapping[str, str]
    scope: Scope
    scope_parameters: Mapping[str, str]
    days: str
    compare: Link
    zones: tuple[str, ...]
    updated: str
    updated_exact: str
    notice: Notice | None
    # What a snapshot of this view is of; empty where there is nothing to keep.
    view: str


@dataclass(frozen=True, slots=True)
class Place:
    """Which view is shown: its tab's name, its address without the query, its own parameters."""

    tab: str
    path: str
    own: Mapping[str, str]


def frame(
    place: Place,
    shown: Scope,
    person: Person,
    environment: str,
    tab_titles: Mapping[str, str],
    notice: Notice | None = None,
) -> Frame:
    """Return the frame around a view. `tab_titles` are those of all tabs by name, in order."""
    path, own = place.path, dict(place.own)
    toggled = shown.parameters(compare="" if shown.compare else "1")
    return Frame(
        title=tab_titles.get(place.tab, ""),
        environment=environment,
        person=person,
        prefix=PREFIX,
        path=path,
        query=urlencode(shown.parameters() | own),
        tabs=tuple(
            Link(title, f"{PREFIX}/{name}?{shown.query()}", name == place.tab)
            for name, title in tab_titles.items()
        ),
        ranges=tuple(_range_link(name, path, shown, own) for name in RANGE_TITLES),
        own=own,
        scope=shown,
        scope_parameters=shown.parameters(),
        days=_days(shown),
        compare=Link("Compare", f"{path}?{urlencode(toggled | own)}", shown.compare),
        zones=zones(),
        updated=f"{shown.now.astimezone(shown.zone):%H:%M:%S}",
        updated_exact=formats.exact_time(shown.now, shown.zone),
        notice=notice,
        view=path.removeprefix(f"{PREFIX}/") if place.tab else "",
    )


def read_theme(cookie: str) -> str:
    """Return the theme a cookie names, empty for anything else."""
    return cookie if cookie in THEMES else ""


def _range_link(name: str, path: str, shown: Scope, own: dict[str, str]) -> Link:
    kept = {key: value for key, value in shown.parameters().items() if key not in {"from", "to"}}
    return Link(RANGE_TITLES[name], f"{path}?{urlencode(kept | {'range': name} | own)}", shown.name == name)


def _days(shown: Scope) -> str:
    if shown.days == 1:
        return formats.day(shown.first)
    return f"{formats.day(shown.first)} to {formats.day(shown.last)}"


@cache
def zones() -> tuple[str, ...]:
    """Return the time zones to choose from; finding them once takes a tenth of a second."""
    # The others are old names of these.
    return tuple(
        sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
    )
