"""What the tab Alerts changes: posted forms, each a call of the alerts service."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from starlette.routing import Route

from gateway.dashboard.alerts import asking, rules, words
from gateway.dashboard.page import visits
from gateway.dashboard.page.answers import Failure
from gateway.dashboard.page.frame import Notice
from gateway.dashboard.page.signing_in import SigningIn
from shared.validation import Violations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.page.visits import Visit

# How long a silence may last, by its title.
HOURS: Final = {"1": "1 hour", "4": "4 hours", "24": "1 day", "168": "1 week"}
# The notice is kept in a cookie.
_LONGEST_NOTICE: Final = 600


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an action, and which alert to show then."""

    text: str
    key: str = ""


@dataclass(frozen=True)
class AlertActs:
    """The handlers of posted forms."""

    signing: SigningIn

    async def pause(self, request: "Request") -> "Response":
        """Stop looking."""
        return await self._act(request, _pause)

    async def resume(self, request: "Request") -> "Response":
        """Look again."""
        return await self._act(request, _resume)

    async def acknowledge(self, request: "Request") -> "Response":
        """Take care of an episode."""
        return await self._act(request, _acknowledge)

    async def test(self, request: "Request") -> "Response":
        """Try the channels out."""
        return await self._act(request, _test)

    async def delete(self, request: "Request") -> "Response":
        """Delete an alert."""
        return await self._act(request, _delete)

    async def silence(self, request: "Request") -> "Response":
        """Hold announcements for a while."""
        return await self._act(request, _silence)

    async def expire(self, request: "Request") -> "Response":
        """End a silence."""
        return await self._act(request, _expire)

    async def create(self, request: "Request") -> "Response":
        """Make an alert of a ready-made rule."""
        return await self._act(request, _create)

    async def _act(
        self,
        request: "Request",
        act: "Callable[[Visit, dict[str, str]], Awaitable[Done | Failure]]",
    ) -> "Response":
        violations = Violations()
        visit, fields = await visits.posted(self.signing, request, violations)
        violations.raise_if_any()
        done = await act(visit, fields)
        if isinstance(done, Failure):
            kept = rules.Choice()
            if fields.get("rule"):
                kept = rules.read(Violations(), fields)
            own = {"key": fields.get("key", "")} | kept.parameters()
            return visit.back("alerts", _given(own), Notice(done.text[:_LONGEST_NOTICE], trouble=True))
        return visit.back("alerts", _given({"key": done.key}), Notice(done.text[:_LONGEST_NOTICE]))


def _given(parameters: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


async def _pause(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key = fields.get("key", "")
    call, asked = asking.stub(visit).PauseAlert, pb.PauseAlertRequest(alert_id=key)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    return answer if isinstance(answer, Failure) else Done(f"{key} is paused.", key)


async def _resume(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key = fields.get("key", "")
    call, asked = asking.stub(visit).ResumeAlert, pb.ResumeAlertRequest(alert_id=key)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    return answer if isinstance(answer, Failure) else Done(f"{key} is looked at again.", key)


async def _acknowledge(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key = fields.get("key", "")
    call, asked = asking.stub(visit).AcknowledgeAlert, pb.AcknowledgeAlertRequest(alert_id=key)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    return answer if isinstance(answer, Failure) else Done(f"You take care of {key}.", key)


async def _test(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key = fields.get("key", "")
    call, asked = asking.stub(visit).TestAlert, pb.TestAlertRequest(alert_id=key)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    if isinstance(answer, Failure):
        return answer
    told = [
        f"{words.CHANNELS.get(each.channel, 'unknown')} {each.recipient} "
        f"{'accepted it' if each.delivered else 'did not take it'}: {each.answer}"
        for each in answer.results
    ]
    text = "; ".join(told) or "it tells nobody"
    refused = any(not each.delivered for each in answer.results)
    return Failure(f"Test of {key}: {text}") if refused else Done(f"Test of {key}: {text}", key)


async def _delete(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key = fields.get("key", "")
    call, asked = asking.stub(visit).DeleteAlert, pb.DeleteAlertRequest(alert_id=key)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    return answer if isinstance(answer, Failure) else Done(f"{key} is deleted.")


async def _silence(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    key, hours = fields.get("key", ""), fields.get("hours", "")
    if hours not in HOURS:
        return Failure(f"A silence lasts {', '.join(HOURS)} hours.")
    silence = alert_pb2.Silence(
        silence_id=fields.get("silence_id", ""),
        alert_ids=[key] if key else [],
        comment=fields.get("comment", ""),
    )
    silence.start_time.FromDatetime(visit.scope.now)
    silence.end_time.FromDatetime(visit.scope.now + timedelta(hours=int(hours)))
    call, asked = asking.stub(visit).CreateSilence, pb.CreateSilenceRequest(silence=silence)
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    if isinstance(answer, Failure):
        return answer
    return Done(f"{key or 'Every alert'} is silent for {HOURS[hours]}.", key)


async def _expire(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    asked = pb.ExpireSilenceRequest(silence_id=fields.get("silence_id", ""))
    call = asking.stub(visit).ExpireSilence
    answer = await visit.questions.ask(asking.SERVICE, call, asked)
    return answer if isinstance(answer, Failure) else Done("The silence is over.", fields.get("key", ""))


async def _create(visit: "Visit", fields: dict[str, str]) -> Done | Failure:
    found = await asking.ready_made(visit)
    if isinstance(found, Failure):
        return found
    violations = Violations()
    choice = rules.read(violations, fields)
    violations.raise_if_any()
    rule = rules.filled(found, choice, {}, "")
    if rule is None:
        return Failure(f"There is no ready-made rule “{choice.rule}”.")
    key = fields.get("alert_id", "")
    asked = pb.CreateAlertRequest(alert_id=key, definition=rules.definition_of(rule, fields))
    answer = await visit.questions.ask(asking.SERVICE, asking.stub(visit).CreateAlert, asked)
    if isinstance(answer, Failure):
        return answer
    return Done(" ".join([f"{key} is watched.", *answer.warnings]), key)


def routes(signing: SigningIn) -> list[Route]:
    """Return the routes of the actions."""
    acts = AlertActs(signing)
    return [
        Route(f"/alerts/{act.__name__}", act, methods=["POST"])
        for act in (
            acts.pause,
            acts.resume,
            acts.acknowledge,
            acts.test,
            acts.delete,
            acts.silence,
            acts.expire,
            acts.create,
        )
    ]
