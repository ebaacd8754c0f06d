"""What a snapshot keeps of a view: its address, with the days it showed instead of "the last 30"."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from gateway.dashboard.page import formats, scope

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.events.v1.snapshots_pb2 import Snapshot

    from gateway.dashboard.page.scope import Scope

PAGE: Final = 100
_SCOPE_PARAMETERS: Final = frozenset(
    {"range", "zone", "from", "to", "compare", "goal_start", "goal_end", "goal_minutes"}
)


@dataclass(frozen=True, slots=True)
class View:
    """A view: its address below the dashboard's, and its parameters."""

    name: str
    parameters: Mapping[str, str]

    @property
    def query(self) -> str:
        """Return the parameters as the query of an address."""
        return urlencode(self.parameters)


@dataclass(frozen=True, slots=True)
class Row:
    """A snapshot in the list."""

    id: str
    name: str
    creator: str
    time: str
    exact_time: str
    # The query that opens it.
    query: str


def own(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return those of a view's parameters that are its own, not the frame's."""
    return {key: value for key, value in parameters.items() if key not in _SCOPE_PARAMETERS}


def kept(name: str, shown: "Scope", own: Mapping[str, str]) -> View:
    """Return the view with its own parameters and the very days of `shown`."""
    return View(name, replace(shown, name=scope.CUSTOM).parameters() | dict(own))


def written(view: View) -> str:
    """Return a view as the state of a snapshot."""
    return json.dumps({"view": view.name, "parameters": dict(view.parameters)})


def read(state: str, known: Sequence[str]) -> View | None:
    """Return the view of a snapshot's state; None for one of a view that is not known.

    Anybody who may look may also save, and not only by our form.
    """
    found = json.loads(state)
    name, parameters = found.get("view"), found.get("parameters")
    if name not in known or not isinstance(parameters, dict):
        return None
    return View(name, {key: value for key, value in parameters.items() if isinstance(value, str)})


def rows(snapshots: "Sequence[Snapshot]", zone: "ZoneInfo") -> tuple[Row, ...]:
    """Return a row for each snapshot."""
    return tuple(
        Row(
            one.snapshot_id,
            one.name,
            one.creator,
            formats.time_of(formats.moment(one.created_time), zone),
            formats.exact_time(formats.moment(one.created_time), zone),
            urlencode({"id": one.snapshot_id}),
        )
        for one in snapshots
    )
