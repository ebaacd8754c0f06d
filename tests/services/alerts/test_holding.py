"""Silences, quiet hours and acknowledgements hold what is told, and nothing of what is judged."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.audit.v1 import audit_pb2

from services.alerts.holds import QuietHours, Silence, quiet_until
from shared.timestamps import from_micros
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.alerts.asking import condition, create, deliveries, get, webhook
from tests.services.alerts.conftest import HOUR, SECOND, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script


def told(service: Service) -> list[str]:
    return [alert_pb2.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_") for each in deliveries(service)]


def silence(service: Service, silence_id: str, hours: float, **fields: object) -> alert_pb2.Silence:
    made = alert_pb2.Silence(
        silence_id=silence_id,
        start_time=from_micros(START),
        end_time=from_micros(START + round(hours * HOUR)),
        **fields,  # type: ignore[arg-type]  # fields by name
    )
    return service.alerts.CreateSilence(pb.CreateSilenceRequest(silence=made)).silence


def test_what_still_fires_after_a_silence_is_told_at_its_end(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    silence(service, "night", 1.5, alert_ids=["errors"])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    assert (condition(service), told(service)) == ("FIRING", [])
    state = get(service).state
    assert state.held_until_time == state.next_look_time == from_micros(START + 3 * HOUR // 2)
    assert state.latest.held
    clock.micros = START + 3 * HOUR // 2
    service.look()
    assert told(service) == ["FIRE"]
    assert get(service).state.latest.reason == alert_pb2.TRANSITION_REASON_ANNOUNCED_LATE


def test_a_hold_is_shown_while_it_lasts_and_no_longer(service: Service, clock: Clock) -> None:
    create(service)
    service.look()
    assert not get(service).state.HasField("held_until_time")
    made = silence(service, "night", 0.5)
    assert get(service).state.held_until_time == made.end_time
    service.alerts.ExpireSilence(pb.ExpireSilenceRequest(silence_id="night"))
    assert not get(service).state.HasField("held_until_time")
    silence(service, "again", 0.5, labels={"team": "another"})
    assert not get(service).state.HasField("held_until_time")
    silence(service, "soon", 0.75)
    clock.micros += HOUR
    assert not get(service).state.HasField("held_until_time")


def test_what_came_and_went_in_a_silence_is_not_told(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    silence(service, "night", 2.5)
    script.values[START] = 9.0
    for hour in (1, 2, 3):
        clock.micros = START + hour * HOUR
        service.look()
    assert (condition(service), told(service), get(service).state.episode) == ("OK", [], 1)


def test_a_silence_that_is_ended_lets_go_at_once(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    silence(service, "night", 10)
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    clock.micros += 60 * SECOND
    service.alerts.ExpireSilence(pb.ExpireSilenceRequest(silence_id="night"))
    assert service.look() == 1
    assert told(service) == ["FIRE"]
    request = pb.ListSilencesRequest(unexpired_only=True)
    assert not service.alerts.ListSilences(request).silences


@pytest.mark.parametrize(
    ("ids", "labels", "is_silent"),
    [
        (["errors"], {}, True),
        (["other"], {}, False),
        ([], {"team": "shop"}, True),
        ([], {"team": "shop", "severity": "low"}, False),
        (["errors"], {"team": "web"}, False),
        ([], {}, True),
    ],
)
def test_silences_cover_ids_and_labels_together(
    ids: list[str], labels: dict[str, str], *, is_silent: bool
) -> None:
    made = Silence(0, 10, frozenset(ids), labels)
    assert made.covers("errors", {"team": "shop", "severity": "high"}) == is_silent


def test_silences_are_made_once_and_listed_by_their_end(service: Service) -> None:
    first = silence(service, "a", 1, comment="why")
    assert silence(service, "a", 1, comment="why") == first
    assert refusal(lambda: silence(service, "a", 2)).reason == "SILENCE_ALREADY_EXISTS"
    silence(service, "b", 3)
    silence(service, "c", 2)
    found, token = [], ""
    while True:
        page = service.alerts.ListSilences(pb.ListSilencesRequest(page_size=1, page_token=token))
        found += [each.silence_id for each in page.silences]
        token = page.next_page_token
        if not token:
            break
    assert found == ["b", "c", "a"]
    assert first.created_by == "test"
    entries = service.audit.ListAuditEntries(audit_pb2.ListAuditEntriesRequest()).entries
    assert [each.action for each in entries if each.action != "migrate"] == ["CreateSilence"] * 3


def test_quiet_hours_hold_until_morning(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    hours = definition_pb2.QuietHours(start_minute=10 * 60, end_minute=11 * 60 + 30)
    create(service, channels=[webhook(receiver.url)], quiet_hours=[hours], time_zone="Europe/Berlin")
    script.otherwise = 9.0
    clock.micros = START + HOUR  # 10:00 in Berlin
    service.look()
    assert told(service) == []
    assert get(service).state.held_until_time == from_micros(START + 5 * HOUR // 2)
    clock.micros = START + 5 * HOUR // 2
    service.look()
    assert told(service) == ["FIRE"]


def test_who_takes_care_hears_no_repeats(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)], repeat_interval_seconds=3600)
    acknowledge = pb.AcknowledgeAlertRequest(alert_id="errors")
    assert refusal(lambda: service.alerts.AcknowledgeAlert(acknowledge)).reason == "NOT_FIRING"
    script.otherwise = 9.0
    for hour in (1, 2):
        clock.micros = START + hour * HOUR
        service.look()
    assert told(service) == ["FIRE", "REPEAT"]
    state = service.alerts.AcknowledgeAlert(acknowledge).alert.state
    assert (state.acknowledged_by, state.acknowledged_time) == ("test", from_micros(clock.micros))
    for hour in (3, 4):
        clock.micros = START + hour * HOUR
        service.look()
    assert told(service) == ["FIRE", "REPEAT"]
    script.otherwise = 0.0
    clock.micros += HOUR
    service.look()
    assert told(service) == ["FIRE", "REPEAT", "RESOLVE"]


# Berlin put clocks forward at 02:00 on 2011-03-27 and back at 03:00 on 2011-10-30.
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("day", ["2011-03-26", "2011-10-29", "2011-06-01"])
def test_quiet_hours_are_those_of_the_clock_on_the_wall(day: str) -> None:
    night = QuietHours(22 * 60, 7 * 60)
    start = int(datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=BERLIN).timestamp())
    for minute in range(0, 24 * 60, 10):
        now = start + minute * 60
        local = datetime.fromtimestamp(now, UTC).astimezone(BERLIN)
        is_night = local.hour >= 22 or local.hour < 7
        until = quiet_until(now * SECOND, [night], BERLIN)
        assert (until is not None) == is_night, local
        if until is not None:
            morning = datetime.fromtimestamp(until / SECOND, UTC).astimezone(BERLIN)
            assert (morning.hour, morning.minute) == (7, 0)


def test_quiet_hours_begin_on_their_weekdays() -> None:
    weekend = QuietHours(20 * 60, 8 * 60, frozenset({6, 7}))
    utc = ZoneInfo("UTC")
    quiet = []
    for hour in range(7 * 24):  # from Friday 2011-11-11 08:00 on
        now = START + hour * HOUR
        if quiet_until(now, [weekend], utc) is not None:
            quiet.append(f"{datetime.fromtimestamp(now / SECOND, UTC):%a %H}")
    nights = {"Sat 20", "Sat 23", "Sun 00", "Sun 07", "Sun 20", "Mon 07"}
    assert nights <= set(quiet)
    assert not {"Fri 20", "Sat 07", "Sun 08", "Mon 08", "Mon 20"} & set(quiet)
    assert len(quiet) == 24
