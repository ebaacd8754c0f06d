"""Clocks are put forward and back, by law and by mistake: each window is judged once, none is left out."""

from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from brain.alerts.v1 import definition_pb2
from brain.common.v1 import common_pb2

from shared.calendar import Interval, buckets
from tests.clock import BEFORE_CHANGES, Clock
from tests.services.alerts.asking import create, definition, deliveries, spans, webhook
from tests.services.alerts.conftest import HOUR, SECOND, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("change", BEFORE_CHANGES)
@pytest.mark.parametrize("wrong_hours", [0, 2, -2], ids=["right", "two ahead", "two behind"])
def test_windows_of_a_zone_that_changes_its_clocks_follow_one_another(
    change: str, wrong_hours: int, service: Service, clock: Clock, script: Script
) -> None:
    start = BEFORE_CHANGES[change]
    clock.micros = start
    metric = definition().metric
    metric.interval = common_pb2.INTERVAL_DAY
    create(service, "hourly", time_zone="Europe/Berlin")
    create(service, "daily", time_zone="Europe/Berlin", metric=metric)
    for half_hour in range(1, 73):
        # Around the change this machine's clock is wrong, the others' is right.
        wrong = wrong_hours * HOUR if 20 <= half_hour < 34 else 0
        script.clock = Clock(start + half_hour * HOUR // 2)
        clock.micros = script.clock.micros + wrong
        service.look()
    script.clock = clock
    clock.micros = start + 38 * HOUR
    service.look()
    for alert_id, unit in (("hourly", Interval.HOUR), ("daily", Interval.DAY)):
        found = spans(service, alert_id)
        assert all(one[1] == other[0] for one, other in pairwise(found)), found
        last = buckets(start, clock.micros, unit, BERLIN)
        assert found[-1] == [each for each in last if each[1] <= clock.micros][-1]
        if not wrong_hours:
            assert len(found) == len(buckets(found[0][0], found[-1][1], unit, BERLIN))
    lengths = [round((end - begin) / HOUR) for begin, end in spans(service, "daily")]
    assert lengths.count({"forward": 23, "back": 25}[change]) == 1


def test_a_clock_that_was_put_right_is_not_waited_for(service: Service, clock: Clock, script: Script) -> None:
    create(service)
    service.look()
    script.clock = Clock(START)
    clock.micros = START + 2 * HOUR
    service.look()
    clock.micros = script.clock.micros = START + HOUR
    service.look()
    assert spans(service, "errors")[-1] == (START, START + HOUR)


@pytest.mark.parametrize("change", BEFORE_CHANGES)
def test_quiet_hours_end_in_the_morning_of_a_change(
    change: str, service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    clock.micros = start = BEFORE_CHANGES[change]
    night = definition_pb2.QuietHours(start_minute=22 * 60, end_minute=7 * 60)
    create(service, channels=[webhook(receiver.url)], quiet_hours=[night], time_zone="Europe/Berlin")
    # Breaks in the hour before 23:00 of the evening, on either side of UTC.
    evening = {"forward": 22, "back": 21}[change] - 12
    script.values = {start + hour * HOUR: 9.0 for hour in range(evening - 1, 40)}
    told_after = None
    for minutes in range(0, 26 * 60, 30):
        clock.micros = start + minutes * 60 * SECOND
        service.look()
        if told_after is None and deliveries(service):
            told_after = clock.micros
    # 07:00 in Berlin: 05:00 UTC in summer, 06:00 in winter.
    assert told_after == start + ({"forward": 17, "back": 18}[change]) * HOUR
