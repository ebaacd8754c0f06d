"""The calls about customers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from brain.forecasting.v1 import customers_pb2 as pb
from numpy.typing import NDArray

from services.forecasting.customers import messages, predicting, questions
from services.forecasting.customers.fitting import UnfittableError
from services.forecasting.customers.keeping import CustomerKeeper, Said, Saying
from services.forecasting.customers.predicting import Churn
from services.forecasting.customers.questions import Page, Span
from services.forecasting.customers.reading import CustomerReader
from services.forecasting.predictions.prediction import PredictionType
from shared.errors import FailedPrecondition, NotFound
from shared.pagination import encode_token
from shared.validation import Violations, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc

    from shared.who import Who

T = TypeVar("T")
_BG_NBD, _WITH_AMOUNTS, _KAPLAN_MEIER = "bg_nbd", "bg_nbd_gamma_gamma", "kaplan_meier"


@dataclass(frozen=True)
class CustomerCalls:
    """Says who leaves, and what customers will spend."""

    # None where this service knows no events service.
    reader: CustomerReader | None
    keeper: CustomerKeeper
    clock: Callable[[], int]

    def PredictChurn(
        self, request: pb.PredictChurnRequest, context: "grpc.ServicerContext"
    ) -> pb.PredictChurnResponse:
        """Say who leaves."""
        violations, reader = Violations(), self._reader()
        which = request.WhichOneof("history")
        horizon, page = (
            questions.horizon(violations, request.horizon_days),
            questions.page(violations, request),
        )
        if which is None:
            violations.add("history", "needs one of purchases and contracts")
            violations.raise_if_any()
        history = request.purchases if which == "purchases" else request.contracts
        start, end = questions.span(violations, str(which), history, self.clock(), reader.zone)
        span = Span(start, end, horizon)
        if page.save_id and (which == "contracts" or history.HasField("as_of_time")):
            violations.add("save_id", "cannot be kept for contracts, nor together with as_of_time")
        found = self._churn(violations, request, span, reader)
        order = np.lexsort((found.keys, -np.nan_to_num(found.leaves, nan=-1.0)))
        rows = _rows(page, order, found.keys, reader)
        people = reader.who(found.keys[rows].tolist())
        response = pb.PredictChurnResponse(
            customers=[messages.churn_customer(found, row, people) for row in rows],
            total_customers=found.keys.size,
            expected_churned=float(np.nansum(found.leaves)),
            model=messages.model(_BG_NBD if which == "purchases" else _KAPLAN_MEIER, found.parameters),
            hold_out=messages.churn_scores(found.hold_out),
            warnings=found.warnings,
            bands=messages.churn_bands(found),
            next_page_token=_next_token(request, page, found.keys.size),
        )
        if page.save_id:
            scores = found.hold_out
            confidence = None if scores is None else 1 - scores.calibration_error
            question = history.SerializeToString(deterministic=True)
            saying = Saying(page.save_id, question, PredictionType.CHURN, _BG_NBD, confidence, span)
            said = _said(page, rows, people, (found.keys, found.leaves, found.purchases), "purchases")
            response.saved_predictions = self.keeper.keep(saying, said, reader)
        return response

    def PredictLifetimeValue(
        self, request: pb.PredictLifetimeValueRequest, context: "grpc.ServicerContext"
    ) -> pb.PredictLifetimeValueResponse:
        """Say what customers will spend."""
        violations, reader = Violations(), self._reader()
        horizon, page = (
            questions.horizon(violations, request.horizon_days),
            questions.page(violations, request),
        )
        history = request.purchases
        questions.events(violations, "purchases.events", history.events)
        start, end = questions.span(violations, "purchases", history, self.clock(), reader.zone)
        if page.save_id and history.HasField("as_of_time"):
            violations.add("save_id", "cannot be kept together with as_of_time")
        violations.raise_if_any()
        span = Span(start, end, horizon)
        bought = reader.purchases(history.events, history.filters, start, end)
        found = _fitted(lambda: predicting.values(bought, end, horizon))
        totals = found.totals
        rows = _rows(page, np.lexsort((found.keys, -totals)), found.keys, reader)
        people = reader.who(found.keys[rows].tolist())
        response = pb.PredictLifetimeValueResponse(
            customers=[messages.value_customer(found, row, people) for row in rows],
            total_customers=found.keys.size,
            expected_value=float(totals.sum()),
            model=messages.model(_WITH_AMOUNTS, found.parameters),
            hold_out=messages.value_scores(found.hold_out),
            warnings=found.warnings,
            bands=messages.bands(found),
            next_page_token=_next_token(request, page, found.keys.size),
        )
        if page.save_id:
            question = history.SerializeToString(deterministic=True)
            kind = PredictionType.LIFETIME_VALUE
            saying = Saying(page.save_id, question, kind, _WITH_AMOUNTS, None, span)
            said = _said(page, rows, people, (found.keys, totals, found.spent), "spent")
            response.saved_predictions = self.keeper.keep(saying, said, reader)
        return response

    def _reader(self) -> CustomerReader:
        if self.reader is None:
            raise FailedPrecondition("this service knows no events service to read from", "EVENTS_UNKNOWN")
        return self.reader

    def _churn(
        self, violations: Violations, request: pb.PredictChurnRequest, span: Span, reader: CustomerReader
    ) -> Churn:
        if request.WhichOneof("history") == "purchases":
            history = request.purchases
            questions.events(violations, "purchases.events", history.events)
            violations.raise_if_any()
            bought = reader.purchases(history.events, history.filters, span.start, span.end)
            return _fitted(lambda: predicting.churn(bought, span.end, span.horizon))
        asked = request.contracts
        text(violations, "contracts.start_event", asked.start_event, maximum=200)
        text(violations, "contracts.end_event", asked.end_event, maximum=200)
        violations.raise_if_any()
        known = reader.contracts(asked.start_event, asked.end_event, span.start, span.end)
        return _fitted(lambda: predicting.contract_churn(known, span.end, span.horizon))


def _said(
    page: Page, rows: list[int], people: "Mapping[int, Who]", columns: tuple[NDArray[Any], ...], feature: str
) -> list[Said]:
    """Return what to keep of these rows; columns are keys, what was said, and a feature of this name."""
    keys, values, features = columns
    return [
        Said(page.first + at + 1, people[int(keys[row])], float(values[row]), {feature: float(features[row])})
        for at, row in enumerate(rows)
        if int(keys[row]) in people
    ]


def _fitted(predict: Callable[[], T]) -> T:
    try:
        return predict()
    except UnfittableError as error:
        raise FailedPrecondition(str(error), "NO_MODEL") from error


def _rows(page: Page, order: NDArray[np.int64], keys: NDArray[np.int64], reader: CustomerReader) -> list[int]:
    """Return the rows to answer with: of one customer, or of a page."""
    if page.who is None:
        rows: list[int] = order[page.first : page.first + page.size].tolist()
        return rows
    key = reader.keys([page.who]).get(page.who)
    found: list[int] = [] if key is None else np.flatnonzero(keys == key).tolist()
    if not found:
        raise NotFound("nothing of this customer is in the history", "CUSTOMER_UNKNOWN")
    return found[-1:]


def _next_token(
    request: "pb.PredictChurnRequest | pb.PredictLifetimeValueRequest", page: Page, total: int
) -> str:
    behind = page.first + page.size
    return encode_token(request, [behind]) if page.who is None and behind < total else ""
