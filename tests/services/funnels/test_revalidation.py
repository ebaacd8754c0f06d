"""What changed is in the next answer, though what was read before is kept and only changes are sent."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count

from brain.events.v1 import events_pb2, identity_pb2
from brain.privacy.v1 import privacy_pb2

from services.events.rollups.compaction import compact
from tests.services.funnels.asking import MINUTE, create, event, results, track, user, users
from tests.services.funnels.conftest import Service

_DAY_SECONDS = 86_400
_LETTERS = "AABBC"


def made(generator: random.Random, number: int, people: list[int]) -> events_pb2.Event:
    """A letter on one of three days; a third of the people are anonymous."""
    person = generator.choice(people)
    at = generator.randrange(3) * _DAY_SECONDS + generator.randrange(90) * MINUTE
    found = event(number, f"u-{person}", generator.choice(_LETTERS), at)
    if person % 3 == 0:
        found.user_id, found.anonymous_id = "", f"a-{person}"
    return found


def erase(service: Service, name: str) -> None:
    request = privacy_pb2.EraseUserRequest(user=user(name), mode=privacy_pb2.ERASURE_MODE_ERASE)
    service.events.privacy.EraseUser(request)


def merge(service: Service, number: int) -> None:
    request = identity_pb2.LinkUserRequest(user_id=f"u-{number + 1}", anonymous_id=f"a-{number}")
    service.events.events.LinkUser(request)


def test_late_events_erasures_merges_and_folding_are_seen_at_once(
    service: Service, start_service: Callable[..., Service]
) -> None:
    """Asked again and again, a replica with everything in memory says what one says that keeps nothing."""
    generator, numbers, people = random.Random(11), count(), list(range(12))
    tight, forgetful = start_service(column_cache_bytes=4_000), start_service(column_cache_bytes=0)
    funnel = create(service, "ABC")

    def more(batch: int) -> None:
        track(service, [made(generator, next(numbers), people) for _ in range(batch)])

    def erase_one(number: int) -> None:
        people.remove(number)
        erase(service, f"u-{number}")

    changes: list[Callable[[], object]] = [partial(more, batch) for batch in (1, 2, 3, 5, 8, 13)]
    changes += [partial(compact, service.events.engine)] * 3
    changes += [partial(merge, service, number) for number in (0, 3, 6)]
    changes += [partial(erase_one, number) for number in (2, 5, 8)]
    generator.shuffle(changes)
    more(60)
    answers = []
    for change in changes:
        change()
        expected = results(forgetful, funnel)
        assert results(service, funnel) == expected
        assert results(tight, funnel) == expected
        answers.append(tuple(users(expected.steps)))
    assert len(set(answers)) > 5, "nothing happened"
    restarted = start_service()
    assert results(restarted, funnel) == expected


def test_a_day_without_any_event_left_counts_nobody(service: Service) -> None:
    funnel = create(service, "AB")
    track(service, [event(1, "ann", "A", 0), event(2, "bob", "A", _DAY_SECONDS)])
    assert users(results(service, funnel).steps) == [2, 0]
    erase(service, "bob")
    for _ in range(2):
        assert users(results(service, funnel).steps) == [1, 0]
    track(service, [event(3, "cay", "A", _DAY_SECONDS), event(4, "cay", "B", _DAY_SECONDS)])
    assert users(results(service, funnel).steps) == [2, 1]


def test_what_was_stored_before_the_question_is_in_the_answer_while_others_write(service: Service) -> None:
    funnel = create(service, "AB")
    writers, batches = 3, 25
    acknowledged: list[int] = []

    def write(writer: int) -> None:
        for batch in range(batches):
            number = writer * batches + batch
            track(service, [event(number, f"u-{number}", "A", number)])
            acknowledged.append(number)

    with ThreadPoolExecutor(writers) as pool:
        jobs = [pool.submit(write, writer) for writer in range(writers)]
        while not all(job.done() for job in jobs):
            least = len(acknowledged)
            assert results(service, funnel).steps[0].users >= least
        for job in jobs:
            job.result()
    assert results(service, funnel).steps[0].users == writers * batches
