"""Who takes part in experiments, kept in memory as columns and brought up to date by what changed since.

Folds and notes (migration 0002) name everybody whose taking part changed. Between what is held and what one
statement sees, those differ who are named by a fold since, by a note that waits now, or by one that waited
then: they are read again, in that same statement, and nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection

    from services.experiments.domain import Experiment

# About 14 bytes each.
_KEPT_PARTICIPANTS: Final = 10_000_000
# PostgreSQL counts microseconds from 2000-01-01.
_POSTGRES_EPOCH_MICROS: Final = 946_684_800_000_000

_STATE = """
WITH state AS (
    SELECT coalesce(max(fold), 0) AS fold, coalesce(max(forgotten), 0) AS forgotten
    FROM fold_states WHERE experiment_id = %(experiment)s
), waiting AS (
    SELECT number, user_keys FROM touched WHERE experiment_id = %(experiment)s AND taking_part
)
"""
_NUMBERS = "(SELECT array_agg(number ORDER BY number) FROM waiting)"

_LOOK = f"{_STATE} SELECT fold, forgotten, {_NUMBERS} FROM state"  # noqa: S608 - made of constants

_PEOPLE = """
SELECT string_agg(int4send(a.user_key), '') AS keys, string_agg(int2send(a.variant), '') AS variants,
       string_agg(timestamptz_send(a.exposed_time), '') AS exposed
FROM {people}
WHERE a.experiment_id = %(experiment)s AND a.exposed_time IS NOT NULL AND NOT a.conflicting
  AND NOT EXISTS (SELECT FROM overrides o WHERE o.experiment_id = a.experiment_id AND o.user_key = a.user_key)
"""
_ALL = _PEOPLE.format(people="assignments a")
_CHANGED = _PEOPLE.format(people="changed JOIN assignments a USING (user_key)")

_WAITING_KEYS = "(SELECT string_agg(int4send(user_key), '') FROM waiting, unnest(user_keys) AS user_key)"

_READ_ALL = f"""
{_STATE}, people AS ({_ALL})
SELECT fold, forgotten, {_NUMBERS}, {_WAITING_KEYS}, NULL, keys, variants, exposed FROM state, people
"""  # noqa: S608 - made of constants

_READ_CHANGED = f"""
{_STATE}, changed AS (
    SELECT unnest(user_keys) AS user_key FROM waiting
    UNION SELECT unnest(user_keys) FROM folds WHERE experiment_id = %(experiment)s AND fold > %(fold)s
    UNION SELECT unnest(%(waited)s::int4[])
), people AS ({_CHANGED})
SELECT fold, forgotten, {_NUMBERS}, {_WAITING_KEYS},
       (SELECT string_agg(int4send(user_key), '') FROM changed), keys, variants, exposed
FROM state, people
"""  # noqa: S608 - made of constants


@dataclass(frozen=True, slots=True, eq=False)
class Participants:
    """Columns of the same people, by our keys: variants, first exposures in Unix microseconds.

    The same object for as long as nothing of it changes, be it folded meanwhile or not.
    """

    user_keys: NDArray[np.int32]
    variants: NDArray[np.int16]
    exposed: NDArray[np.int64]

    def equals(self, other: "Participants") -> bool:
        """Return whether they are the same people, variants and exposures."""
        return (
            np.array_equal(self.user_keys, other.user_keys)
            and np.array_equal(self.variants, other.variants)
            and np.array_equal(self.exposed, other.exposed)
        )

    def replaced(self, changed: NDArray[np.int32], now: "Participants") -> "Participants":
        """Return them with `now` in place of those changed, who are in order; themselves where equal."""
        at = np.searchsorted(self.user_keys, changed)
        at = at[at < len(self.user_keys)]
        gone = at[np.isin(self.user_keys[at], changed)]
        if now.equals(Participants(self.user_keys[gone], self.variants[gone], self.exposed[gone])):
            return self
        kept = [np.delete(column, gone) for column in (self.user_keys, self.variants, self.exposed)]
        places = np.searchsorted(kept[0], now.user_keys)
        return Participants(
            np.insert(kept[0], places, now.user_keys),
            np.insert(kept[1], places, now.variants),
            np.insert(kept[2], places, now.exposed),
        )


@dataclass(frozen=True, slots=True)
class _Held:
    participants: Participants
    fold: int
    # The notes that waited, and whom they named.
    numbers: Sequence[int]
    waited: NDArray[np.int32]


@dataclass(frozen=True)
class ParticipantColumns:
    """Participants of experiments, without those left out. Safe to share between threads."""

    _lock: Lock = field(default_factory=Lock)
    _held: dict[int, _Held] = field(default_factory=dict)

    def current(self, connection: "Connection", experiment: "Experiment") -> Participants:
        """Return everybody who takes part, as the connection sees it."""
        with self._lock:
            held = self._held.get(experiment.experiment_id)
        with driver_cursor(connection) as cursor:
            found = _brought_up(cursor, experiment, held) or _read(cursor, experiment)
        with self._lock:
            newest = self._held.get(experiment.experiment_id)
            if newest is held:  # else another call was quicker
                self._held[experiment.experiment_id] = found
                self._bound(experiment.experiment_id)
        return found.participants

    def _bound(self, experiment_id: int) -> None:
        if sum(len(each.participants.user_keys) for each in self._held.values()) > _KEPT_PARTICIPANTS:
            for other in self._held.keys() - {experiment_id}:
                del self._held[other]


def _brought_up(
    cursor: "Cursor[tuple[Any, ...]]", experiment: "Experiment", held: _Held | None
) -> _Held | None:
    """Return what is held with all changes; None where that cannot be told."""
    parameters: dict[str, Any] = {"experiment": experiment.experiment_id}
    fold, forgotten, numbers = cursor.execute(_LOOK.encode(), parameters).fetchone() or (0, 0, None)
    if (
        held is None or not forgotten <= held.fold <= fold
    ):  # never read, long ago, or read by a later snapshot
        return None
    if held.fold == fold and held.numbers == (numbers or []):
        return held
    parameters |= {"fold": held.fold, "waited": held.waited.tolist()}
    fold, forgotten, numbers, waited, changed, *columns = _row(cursor, _READ_CHANGED, parameters)
    if forgotten > held.fold:
        return None
    participants = held.participants.replaced(np.unique(_keys(changed)), _participants(columns))
    return _Held(participants, fold, numbers or [], _keys(waited))


def _read(cursor: "Cursor[tuple[Any, ...]]", experiment: "Experiment") -> _Held:
    parameters = {"experiment": experiment.experiment_id}
    fold, _, numbers, waited, _, *columns = _row(cursor, _READ_ALL, parameters)
    return _Held(_participants(columns), fold, numbers or [], _keys(waited))


def _row(cursor: "Cursor[tuple[Any, ...]]", statement: str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    row = cursor.execute(statement.encode(), parameters).fetchone()
    assert row is not None, "aggregates have a row"
    return row


def _keys(packed: bytes | None) -> NDArray[np.int32]:
    return np.frombuffer(packed or b"", ">i4").astype(np.int32)


def _participants(columns: Sequence[bytes | None]) -> Participants:
    packed_keys, variants, exposed = columns
    keys = _keys(packed_keys)
    order = np.argsort(keys, kind="stable")
    return Participants(
        keys[order],
        np.frombuffer(variants or b"", ">i2").astype(np.int16)[order],
        np.frombuffer(exposed or b"", ">i8").astype(np.int64)[order] + _POSTGRES_EPOCH_MICROS,
    )
