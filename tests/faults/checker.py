"""Compares a ledger with what the events service has stored, once the system has healed.

Reads the tables, not the service: raw events by plain SQL, roll-ups by the oracle of the events tests.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.faults.ledger import Operation, Outcome
from tests.faults.made_events import content
from tests.services.events.recount import recount

if TYPE_CHECKING:
    import psycopg

ZONE = "UTC"
SHOWN = 5
MILLIONTHS = 1_000_000

_STORED = """
SELECT event_id::text, user_key, (extract(epoch FROM event_time) * 1000000)::int8, event, value
FROM events JOIN event_types USING (event_key)
"""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row; the value in millionths."""

    event_id: str
    user_key: int
    micros: int
    name: str
    value: int | None


@dataclass(frozen=True)
class Verdict:
    """What the ledger and the tables add up to. `problems` is empty where nothing went wrong."""

    operations: int
    sent: int
    acknowledged: int  # different ids
    unknown: int  # ids of which only an answer without a meaning came
    stored: int
    accepted: int  # as the service said
    duplicates: int  # as the service said
    problems: tuple[str, ...]


def check(operations: Sequence[Operation], connection: "psycopg.Connection[Any]") -> Verdict:
    """Compare. The connection is in autocommit mode and finds the tables of the events service."""
    rows = [StoredEvent(*row) for row in connection.execute(_STORED).fetchall()]
    counted = recount(connection, ZONE)
    found = [*compare(operations, rows), *_shown("roll-ups are wrong", counted.mismatches)]
    return Verdict(
        operations=len(operations),
        sent=len(_ids(operations, *Outcome)),
        acknowledged=len(_ids(operations, Outcome.OK)),
        unknown=len(_ids(operations, Outcome.UNKNOWN) - _ids(operations, Outcome.OK)),
        stored=len(rows),
        accepted=sum(each.answer.accepted for each in operations),
        duplicates=sum(each.answer.duplicates for each in operations),
        problems=tuple(found),
    )


def compare(operations: Sequence[Operation], rows: Sequence[StoredEvent]) -> Iterator[str]:
    """Say in which ways rows are not what the operations say."""
    stored = Counter(row.event_id for row in rows)
    acknowledged, unknown = _ids(operations, Outcome.OK), _ids(operations, Outcome.UNKNOWN)
    refused = _ids(operations, Outcome.FAILED) - acknowledged - unknown
    yield from _shown("acknowledged and not stored", acknowledged - stored.keys())
    yield from _shown("stored twice", (each for each, times in stored.items() if times > 1))
    yield from _shown("stored and never sent", stored.keys() - acknowledged - unknown - refused)
    yield from _shown("refused and stored", refused & stored.keys())
    yield from _shown("stored in part", _torn(operations, stored))
    yield from _shown("stored otherwise than sent", (row.event_id for row in rows if not _is_as_sent(row)))
    yield from _shown("people mixed up", _mixed_up(rows))
    yield from _shown("counted wrongly in the answer", map(str, _miscounted(operations)))
    accepted = sum(each.answer.accepted for each in operations)
    if accepted > len(rows):
        yield f"{accepted} events were said to be new, and {len(rows)} are stored"


def _ids(operations: Iterable[Operation], *outcomes: Outcome) -> set[str]:
    return {each for one in operations if one.answer.outcome in outcomes for each in one.ids}


def _torn(operations: Iterable[Operation], stored: Counter[str]) -> Iterator[str]:
    """Batches are transactions."""
    for one in operations:
        if 0 < sum(each in stored for each in one.ids) < len(one.ids):
            yield f"operation {one.number}"


def _is_as_sent(row: StoredEvent) -> bool:
    said = content(row.event_id)
    value = None if said.value is None else said.value * MILLIONTHS
    return (row.micros, row.name, row.value) == (said.micros, said.name, value)


def _mixed_up(rows: Iterable[StoredEvent]) -> Iterator[str]:
    """Each person has one key, and each key is one person's."""
    keys: dict[str, set[int]] = defaultdict(set)
    people: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        user = content(row.event_id).user
        keys[user].add(row.user_key)
        people[row.user_key].add(user)
    yield from (f"{user} has keys {sorted(of_user)}" for user, of_user in keys.items() if len(of_user) > 1)
    yield from (f"key {key} is of {sorted(of_key)}" for key, of_key in people.items() if len(of_key) > 1)


def _miscounted(operations: Iterable[Operation]) -> Iterator[int]:
    for one in operations:
        answer = one.answer
        if answer.outcome is Outcome.OK and answer.accepted + answer.duplicates != len(one.ids):
            yield one.number


def _shown(what: str, cases: Iterable[str]) -> Iterator[str]:
    found = sorted(cases)
    if found:
        more = ", …" if len(found) > SHOWN else ""
        yield f"{what}: {len(found)} ({', '.join(found[:SHOWN])}{more})"
