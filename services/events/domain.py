"""The words of this service: what an event, a person and a question are made of."""

from dataclasses import dataclass
from enum import Enum, IntEnum

# Values are kept as whole numbers of millionths, so that sums are exact and do not depend on order.
VALUE_SCALE = 1_000_000


class UserKind(IntEnum):
    """The three kinds of who, as stored."""

    USER = 1
    ANONYMOUS = 2
    SESSION = 3


# Somebody: (kind, id). Tuples, because they are the keys of the hottest dictionary.
Who = tuple[UserKind, str]


class ChangeKind(IntEnum):
    """What may happen to somebody's key, as stored."""

    MERGE = 1  # an anonymous id became a user's
    ERASE = 2  # erased, or anonymised


@dataclass(frozen=True, slots=True)
class Change:
    """A key that stands for nobody from a position of the identity log on; to_key has its events, if any.

    While it is pending, events from before are still stored under from_key.
    """

    position: int
    kind: ChangeKind
    from_key: int
    to_key: int | None
    pending: bool


# What an event is called: (event, category).
Name = tuple[str, str]


class Operator(Enum):
    """How a property is compared."""

    EQUALS = 1
    NOT_EQUALS = 2
    IN = 3
    CONTAINS = 4
    GREATER = 5
    LESS = 6
    EXISTS = 7


Scalar = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition on an event's properties: a path of names, an operator, the values compared with."""

    path: tuple[str, ...]
    operator: Operator
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events count: by name and category (None: any), meeting all conditions."""

    events: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    conditions: tuple[Condition, ...] = ()


class Population(Enum):
    """Who is counted."""

    KNOWN = "known"
    PEOPLE = "people"
    ACTORS = "actors"


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event as it was stored: times in Unix microseconds, value in millionths, properties as JSON."""

    event_id: str
    user_key: int
    anonymous_key: int | None
    session_id: str
    event: str
    category: str
    time: int
    received_time: int
    value: int | None
    properties: str | None
    page: str | None
    referrer: str | None
    user_agent: str | None
