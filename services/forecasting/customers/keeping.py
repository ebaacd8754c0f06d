"""Keeps what was said of customers, and finds what came of it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2
from brain.forecasting.v1 import customers_pb2 as pb

from services.forecasting.customers.predicting import VERSION
from services.forecasting.customers.questions import Span
from services.forecasting.customers.reading import CustomerReader, days_after
from services.forecasting.predictions import store
from services.forecasting.predictions.prediction import Made, Prediction, PredictionType
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import AlreadyExists
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from services.forecasting.predictions.store import Claimed


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a customer of a rank, from 1 on."""

    rank: int
    who: Who
    value: float
    features: dict[str, float]


@dataclass(frozen=True, slots=True)
class Saying:
    """How it was said: the run, its question, what kind of value, by which model, how sure."""

    run_id: str
    question: bytes
    type: PredictionType
    model: str
    confidence: float | None
    span: Span


@dataclass(frozen=True)
class CustomerKeeper:
    """Keeps predictions about people and reads what they did."""

    engine: "Engine"
    users: UserDictionary
    clock: Callable[[], int]
    grace_micros: int

    def keep(self, saying: Saying, said: Sequence[Said], reader: CustomerReader) -> int:
        """Keep what was said; return how much of it was new.

        Raise AlreadyExists where something else was kept under this id.
        """
        now, caller = self.clock(), current_caller().subject
        definition = json.dumps({"model": saying.model, "horizon_days": saying.span.horizon})
        run = store.Run(saying.run_id, caller, saying.question, definition)
        with self.engine.begin() as connection:
            if not store.add_run(connection, run, now) and not store.is_run(connection, run):
                raise _taken(saying)
            erased = self.users.erased(connection, [each.who for each in said])
            kept = [each for each in said if erased.get(each.who, 0) <= saying.span.end]
            keys = self.users.hold(connection, [each.who for each in kept])
            end = days_after(saying.span.end, saying.span.horizon, reader.zone)
            made = [_prediction(saying, each, keys[each.who], end) for each in kept]
            added = store.add(connection, made, saying.run_id, now, self.grace_micros)
            if len(made) == 1 and not added and _is_of_another(connection, made[0]):
                raise _taken(saying)
            details: dict[str, str | float] = {"type": saying.type.name.lower(), "predictions": added}
            audit.record(connection, AuditEntry(caller, "SavePredictions", saying.run_id, details))
        return added

    def values(self, claimed: "Sequence[Claimed]", reader: CustomerReader) -> dict[str, float]:
        """Return what came of predictions about people, by prediction."""
        about = [each for each in claimed if each.kept.prediction.user_key and each.run_id]
        found: dict[str, float] = {}
        for (run_id, *_), group in groupby(sorted(about, key=_run_and_period), key=_run_and_period):
            found |= self._of_run(run_id, [each.kept.prediction for each in group], reader)
        return found

    def _of_run(
        self, run_id: str, predictions: Sequence[Prediction], reader: CustomerReader
    ) -> dict[str, float]:
        with self.engine.begin() as connection:
            question = pb.PurchaseHistory.FromString(store.run_question(connection, run_id))
            keys = [each.user_key for each in predictions if each.user_key]
            people = self.users.read_in(connection, keys)
        start, end = predictions[0].start, predictions[0].end
        bought = reader.purchases(question.events, question.filters, start, end)
        theirs = reader.keys(list(people.values()))
        spent: dict[int, float] = {}
        for key, amount in zip(bought.keys.tolist(), bought.amounts.tolist(), strict=True):
            spent[key] = spent.get(key, 0.0) + amount
        found: dict[str, float] = {}
        for each in predictions:
            # Somebody whom the events service does not know any more bought nothing that it knows of.
            key = theirs.get(people[each.user_key], 0) if each.user_key in people else 0
            gone = float(key not in spent)
            churn = each.type is PredictionType.CHURN
            found[each.prediction_id] = gone if churn else spent.get(key, 0.0)
        return found


def _taken(saying: Saying) -> AlreadyExists:
    return AlreadyExists(f"predictions of something else are kept as {saying.run_id!r}", "SAVE_ID_TAKEN")


def _is_of_another(connection: "Connection", made: Prediction) -> bool:
    """Tell whether the id of what one person was asked about holds another person of the same period."""
    kept = store.find(connection, made.prediction_id)
    if kept is None:
        return False
    return kept.prediction.start == made.start and kept.prediction.user_key != made.user_key


def _run_and_period(claimed: "Claimed") -> tuple[str, int, int]:
    """Return what is read at once: pages of one run may be kept on different days."""
    prediction = claimed.kept.prediction
    return claimed.run_id or "", prediction.start, prediction.end


def _prediction(saying: Saying, said: Said, user_key: int, end: int) -> Prediction:
    return Prediction(
        prediction_id=f"{saying.run_id}/{said.rank}",
        type=saying.type,
        source="",
        metric="",
        labels={},
        reference=b"",
        interval=common_pb2.INTERVAL_UNSPECIFIED,
        user_key=user_key,
        target="",
        start=saying.span.end,
        end=end,
        predicted=said.value,
        made=Made(saying.model, VERSION, saying.span.horizon, None, saying.confidence, None),
        features=json.dumps(said.features),
    )
