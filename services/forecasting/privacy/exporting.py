"""Everything held about a person, as lines of JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2

from services.forecasting.predictions import store
from services.forecasting.predictions.prediction import Kept
from services.forecasting.predictions.selection import Selection
from shared.calendar import to_datetime_utc
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from sqlalchemy import Engine

_PAGE = 1_000


@dataclass(frozen=True)
class Exporter:
    """Reads all there is of a person."""

    engine: "Engine"
    users: UserDictionary

    def export(self, who: Who) -> Iterator[list[str]]:
        """Yield lines, some at a time; no transaction stays open in between."""
        with self.engine.begin() as connection:
            key = self.users.find(connection, [who]).get(who)
            erased = self.users.erased(connection, [who]).get(who)
        lines = [] if erased is None else [_line("tombstones", erased=to_datetime_utc(erased).isoformat())]
        if key is not None:
            kind = events_pb2.UserKind.Name(who[0]).removeprefix("USER_KIND_").lower()  # type: ignore[arg-type]  # a number of the enum
            lines.insert(0, _line("users", kind=kind, id=who[1], user_key=key))
        if lines:
            yield lines
        if key is not None:
            yield from self._predictions(key)

    def _predictions(self, key: int) -> Iterator[list[str]]:
        after = None
        while True:
            with self.engine.begin() as connection:
                kept = store.list_kept(
                    connection, Selection(user_key=key), after, _PAGE, only_with_actual=False
                )
            if kept:
                yield list(map(_prediction, kept))
            if len(kept) < _PAGE:
                return
            after = kept[-1].prediction.start, kept[-1].prediction.prediction_id


def _prediction(kept: Kept) -> str:
    prediction, actual = kept.prediction, kept.actual
    return _line(
        "predictions",
        prediction_id=prediction.prediction_id,
        type=prediction.type.name.lower(),
        target=prediction.target,
        start=to_datetime_utc(prediction.start).isoformat(),
        end=to_datetime_utc(prediction.end).isoformat(),
        predicted=prediction.predicted,
        features=None if prediction.features is None else json.loads(prediction.features),
        model=prediction.made.model,
        created_time=to_datetime_utc(kept.created).isoformat(),
        actual=None if actual is None else actual.value,
    )


def _line(table: str, **members: object) -> str:
    return json.dumps({"table": table, **members}, ensure_ascii=False)
