"""From the outbox to receivers: take, find the address, send, settle. A stage each.

An attempt is settled before the next begins: whoever is killed leaves one delivery of which nobody knows
whether it arrived, and it carries the same id when it is sent again.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.alerts.notify.answer import Answer
from services.alerts.plan import ChannelKind, Recipient, masked
from services.alerts.store import outbox
from services.alerts.store.outbox import Due, Settled
from shared.calendar import HOUR_MICROS, MICROS
from shared.chores import Chore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.alerts.measures import Measures
    from services.alerts.notice import Notice
    from services.alerts.rate import Rate
    from services.alerts.store.recipients import RecipientStore

TAKEN_AT_ONCE = 20
IDLE_SECONDS = 0.5
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 5.0, 900.0
# A receiver that says when to come back is left alone for longer than that, up to this: some say "at once"
# each time.
LONGEST_BEYOND_TOLD_SECONDS = 60.0
# No attempt begins later after its lease was taken: it takes 15 s at most, and leases last 60.
_ATTEMPTING_SECONDS = 40.0


class Channel(Protocol):
    """A way to tell somebody. It answers, and raises no error of network or receiver."""

    def send(self, notice: "Notice", recipient: str, delivery_id: int, /) -> Answer:
        """Attempt to tell once."""


@dataclass(frozen=True)
class Deliverer:
    """Tells the recipients of one channel."""

    engine: "Engine"
    kind: ChannelKind
    # None where the settings do not say how.
    channel: Channel | None
    recipients: "RecipientStore"
    rate: "Rate"
    clock: Callable[[], int]
    measures: "Measures"
    give_up_hours: float
    monotonic: Callable[[], float] = time.monotonic

    def chore(self, number: int) -> Chore:
        """Return the work to do again and again; any number of threads may."""
        name = f"telling by {self.kind.name.lower()} {number}"
        return Chore(name, lambda: 0.0 if self.step() else IDLE_SECONDS)

    def step(self) -> int:
        """Attempt what is due and within the rate; return how many attempts were made."""
        allowed = self.rate.take(TAKEN_AT_ONCE)
        if not allowed:
            return 0
        until = self.monotonic() + _ATTEMPTING_SECONDS
        with self.engine.begin() as connection:
            taken = outbox.claim(connection, self.kind, self.clock(), allowed)
            ids = [each.recipient_id for each in taken if each.recipient_id is not None]
            addresses = self.recipients.addresses(connection, ids) if ids else {}
        attempted = self._attempt_each(taken, addresses, until)
        self.rate.give_back(allowed - attempted)
        return attempted

    def _attempt_each(self, taken: Sequence[Due], addresses: dict[int, str], until: float) -> int:
        """Attempt in order; a recipient that fails is left alone for now."""
        failing: set[int | None] = set()
        untried: list[Due] = []
        for due in taken:
            # Whoever slept in between has lost its lease: another replica may have sent this meanwhile.
            if due.recipient_id in failing or self.monotonic() > until:
                untried.append(due)
                continue
            settled = self._attempt(due, addresses)
            if settled.retry is not None:
                failing.add(due.recipient_id)
        if untried:
            with self.engine.begin() as connection:
                outbox.release(connection, untried)
        return len(taken) - len(untried)

    def _attempt(self, due: Due, addresses: dict[int, str]) -> Settled:
        address = None if due.recipient_id is None else addresses.get(due.recipient_id)
        answer = self._send(due, address)
        now = self.clock()
        text = answer.text if address is None else _without(answer.text, Recipient(self.kind, address))
        settled = Settled(due, text, answer.delivered, self._retry(due, answer, now))
        with self.engine.begin() as connection:
            outbox.settle(connection, [settled], now)
            if settled.retry is not None and due.recipient_id is not None:
                outbox.postpone(connection, self.kind, due.recipient_id, settled.retry)
        result = "delivered" if answer.delivered else "failed" if settled.retry is None else "retried"
        self.measures.notifications.labels(self.kind.name.lower(), result).inc()
        return settled

    def _send(self, due: Due, address: str | None) -> Answer:
        if address is None:
            return Answer(delivered=False, text="the recipient was erased", permanent=True)
        if self.channel is None:
            return Answer(delivered=False, text="the settings of this service do not say how")
        return self.channel.send(due.notice, address, due.delivery_id)

    def _retry(self, due: Due, answer: Answer, now: int) -> int | None:
        """Return when to try again in Unix microseconds, None where never."""
        if answer.delivered or answer.permanent:
            return None
        seconds = retry_seconds(due.attempts, due.delivery_id)
        if answer.retry_after_seconds is not None:
            seconds = max(answer.retry_after_seconds, min(seconds, LONGEST_BEYOND_TOLD_SECONDS))
        at = now + round(seconds * MICROS)
        return at if at - due.created <= self.give_up_hours * HOUR_MICROS else None


def _without(answer: str, recipient: Recipient) -> str:
    """Return an answer without the address, which receivers like to repeat and which is kept encrypted."""
    spelled = re.compile(r"\+?" + re.escape(recipient.address.lstrip("+")), re.IGNORECASE)
    return spelled.sub(lambda _: masked(recipient), answer)


def retry_seconds(attempts: int, delivery_id: int) -> float:
    """Return 5, 10, 20 … 900 s after so many attempts, up to a fifth less: not all at once."""
    whole: float = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempts, 20), LONGEST_RETRY_SECONDS)
    return whole * (1 - (delivery_id * 0.618) % 0.2)
