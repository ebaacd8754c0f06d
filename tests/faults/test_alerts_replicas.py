"""Rows 9 and 10: alerts replicas are killed while they tell; receivers refuse for a while."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from math import ceil
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub

from services.alerts.condition import NoticeKind
from shared import clients
from tests.clock import Clock
from tests.faults.alerts_processes import HOUR_SECONDS, SECOND, end_leases, last_hour, replica
from tests.faults.conftest import Database
from tests.faults.servers import KEY, SERVING, Server, within
from tests.services.alerts.asking import definition, webhook
from tests.services.alerts.receivers import Received, Receiver
from tests.services.alerts.scripted_source import Script, scripted_source

pytestmark = pytest.mark.faults

ALERTS = 200
PATHS = ("/first", "/second")
KILL_SECONDS = 30.0
HEAL_SECONDS = 300.0
# Threads of a replica that tell webhooks: so many rows are in flight when it is killed.
DELIVERERS = 1


@pytest.fixture
def script() -> Iterator[Script]:
    """Every window since the last full hour breaches, those before do not."""
    hour = last_hour()
    with scripted_source(Clock((hour + 10 * HOUR_SECONDS) * SECOND), KEY) as started:
        for number in range(-1, 3):
            started.values[(hour + number * HOUR_SECONDS) * SECOND] = 9.0
        yield started


@pytest.fixture
def replicas(alerts: Database, script: Script, tmp_path: Path) -> Iterator[Callable[[int], list[Server]]]:
    """Starts so many."""
    with ExitStack() as ended:

        def begin(count: int) -> list[Server]:
            made = []
            for number in range(count):
                directory = tmp_path / str(number)
                directory.mkdir()
                sources = {"events": script.address}
                server = replica(alerts, directory, sources, DELIVERERS=str(DELIVERERS))
                ended.callback(server.kill)
                server.start()
                made.append(server)
            for server in made:
                server.wait_until(SERVING)
            return made

        yield begin


def create(servers: Sequence[Server], count: int, urls: Sequence[str], seconds: float) -> None:
    """Alerts whose windows close one after the other within so many seconds: what they wait decides it."""
    first = int(time()) - last_hour() + 5
    target = ",".join(server.address for server in servers)
    with clients.channel(target, None) as channel, ThreadPoolExecutor(4) as pool:
        stub = AlertsServiceStub(channel)

        def one(number: int) -> None:
            grace = first + int(number * seconds / count)
            made = definition(channels=[webhook(*urls)], grace_seconds=grace)
            stub.CreateAlert(pb.CreateAlertRequest(alert_id=f"e-{number}", definition=made))

        list(pool.map(one, range(count)))


def pause_all(servers: Sequence[Server], count: int) -> None:
    """What was announced is told to be over; replicas come and go meanwhile."""
    target = ",".join(server.address for server in servers)
    with clients.channel(target, None) as channel:
        stub = AlertsServiceStub(channel)
        for number in range(count):
            request = pb.PauseAlertRequest(alert_id=f"e-{number}")
            stub.PauseAlert(request, wait_for_ready=True, timeout=HEAL_SECONDS)


def kill_at_random(servers: Sequence[Server], seconds: float, chance: random.Random) -> list[float]:
    """Kill one each second, and start it again at once; return when, in Unix seconds."""
    kills = []
    end = monotonic() + seconds
    while monotonic() < end:
        sleep(1)
        server = chance.choice(servers)
        server.kill()
        kills.append(time())
        server.start()
    return kills


def heal(database: Database, servers: Sequence[Server]) -> list[float]:
    """Kill all, let the leases of the killed end as if a minute had passed, and start all again."""
    kills = []
    for server in servers:
        server.kill()
        kills.append(time())
    end_leases(database)
    for server in servers:
        server.start()
    for server in servers:
        server.wait_until(SERVING)
    return kills


def settled(database: Database, kind: int) -> int:
    """How many deliveries of a kind have arrived."""
    query = "SELECT count(*) FROM outbox WHERE kind = %s AND status = 2"
    with database.connect("alerts") as connection:
        [count] = connection.execute(query, [kind]).fetchone() or (0,)
    return int(count)


def kinds(database: Database) -> dict[tuple[int, int], int]:
    """How many rows of the outbox there are by kind and status."""
    with database.connect("alerts") as connection:
        rows = connection.execute("SELECT kind, status, count(*) FROM outbox GROUP BY 1, 2").fetchall()
    return {(int(kind), int(status)): int(count) for kind, status, count in rows}


FIRE, RESOLVE, DELIVERED = NoticeKind.FIRE.value, NoticeKind.RESOLVE.value, 2


def test_replicas_that_are_killed_tell_everybody_and_little_twice(
    alerts: Database,
    replicas: Callable[[int], list[Server]],
    receiver: Receiver,
    lasting: Callable[[float], float],
    tell: Callable[..., None],
) -> None:
    servers, chance = replicas(3), random.Random(9)
    seconds = lasting(KILL_SECONDS)
    expected = ALERTS * len(PATHS)
    create(servers, ALERTS, [receiver.url + path for path in PATHS], seconds)
    kills = kill_at_random(servers, seconds, chance)
    kills += heal(alerts, servers)
    assert within(HEAL_SECONDS, lambda: settled(alerts, FIRE) == expected), kinds(alerts)
    with ThreadPoolExecutor(1) as pool:
        pausing = pool.submit(pause_all, servers, ALERTS)
        kills += kill_at_random(servers, seconds / 2, chance)
        kills += heal(alerts, servers)
        pausing.result()
    assert within(HEAL_SECONDS, lambda: settled(alerts, RESOLVE) == expected), kinds(alerts)
    assert kinds(alerts) == {(FIRE, DELIVERED): expected, (RESOLVE, DELIVERED): expected}
    twice = check_told(receiver.received, kills)
    tell(alerts=ALERTS, kills=len(kills), requests=len(receiver.received), told_twice=twice)


def check_told(received: Sequence[Received], kills: Sequence[float]) -> int:
    """Return how many deliveries came twice: no more than were in flight when somebody was killed."""
    told: dict[tuple[str, str], list[str]] = defaultdict(list)
    arrivals: dict[str, list[float]] = defaultdict(list)
    for each in sorted(received, key=lambda one: one.time):
        told[each.json["commonLabels"]["alert_id"], each.path].append(each.json["status"])
        arrivals[each.headers["webhook-id"]].append(each.time)
    assert told.keys() == {(f"e-{number}", path) for number in range(ALERTS) for path in PATHS}
    for statuses in told.values():
        assert set(statuses) == {"firing", "resolved"}
        assert statuses == sorted(statuses), "an end before its beginning"
    assert len(arrivals) == 2 * len(told)
    repeated = [times for times in arrivals.values() if len(times) > 1]
    for times in repeated:
        for earlier, later in pairwise(times):
            assert any(earlier <= kill <= later for kill in kills), "nobody died in between"
    extra = sum(len(times) - 1 for times in repeated)
    assert extra <= len(kills) * DELIVERERS
    return extra


class Refusing:
    """Answers 500 for some seconds from the first request on, then 429 with what is left, then 200."""

    def __init__(self, failing_seconds: float, refusing_seconds: float) -> None:
        self._spans = (failing_seconds, failing_seconds + refusing_seconds)
        self._began: float | None = None

    def __call__(self) -> tuple[int, dict[str, str]]:
        now = time()
        self._began = now if self._began is None else self._began
        failing, refusing = (self._began + span for span in self._spans)
        if now < failing:
            return 500, {}
        return (429, {"Retry_After": str(ceil(refusing - now))}) if now < refusing else (200, {})


def test_two_replicas_spare_a_receiver_that_refuses(
    alerts: Database,
    replicas: Callable[[int], list[Server]],
    receiver: Receiver,
    tell: Callable[..., None],
) -> None:
    count = 40
    receiver.otherwise = Refusing(failing_seconds=7, refusing_seconds=20)
    create(replicas(2), count, [receiver.url], 0.5)
    assert within(HEAL_SECONDS, lambda: settled(alerts, FIRE) == count), kinds(alerts)
    assert kinds(alerts) == {(FIRE, DELIVERED): count}
    attempts: dict[str, list[Received]] = defaultdict(list)
    for each in receiver.received:
        attempts[each.headers["webhook-id"]].append(each)
    # Each is accepted once, at its last attempt.
    assert len(attempts) == count
    for tried in attempts.values():
        assert [each.status == 200 for each in tried] == [False] * (len(tried) - 1) + [True]
        for place, (earlier, later) in enumerate(pairwise(tried)):
            least = 0.8 * 5 * 2**place
            assert earlier.status == 429 or later.time - earlier.time >= least, tried
    refused = [each for each in receiver.received if each.status != 200]
    assert {each.status for each in refused} == {500, 429}
    # Who is told when to come again comes then: a replica does not ask for the second delivery what the first
    # was answered, and one that was asking just then learns it from its own.
    assert sum(each.status == 429 for each in refused) <= 2 * DELIVERERS
    assert len(refused) <= 3 * 2 * DELIVERERS
    tell(alerts=count, requests=len(receiver.received), refused=len(refused))
