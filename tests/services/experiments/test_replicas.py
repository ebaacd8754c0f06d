"""Many replicas, many people: everybody keeps their variant, whoever is asked."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.experiments.v1 import experiments_pb2 as pb

from tests.services.experiments.asking import assign_all, create, definition, start
from tests.services.experiments.conftest import Service

REPLICAS = 5


def reweigh(service: Service, first: int) -> None:
    allocation = [
        pb.VariantAllocation(variant=name, allocation_percent=percent)
        for name, percent in (("a", first), ("b", 100 - first))
    ]
    service.experiments.UpdateExperiment(
        pb.UpdateExperimentRequest(experiment_key="colour", allocation=allocation)
    )


def assigned_by_all(replicas: list[Service], names: list[str], seed: int) -> list[dict[str, str]]:
    """Ask every replica for everybody, each in an order of its own and all at once."""

    def ask(number: int) -> dict[str, str]:
        shuffled = names.copy()
        random.Random(seed + number).shuffle(shuffled)
        return assign_all(replicas[number], shuffled)

    with ThreadPoolExecutor(len(replicas)) as pool:
        return list(pool.map(ask, range(len(replicas))))


@pytest.mark.parametrize("people", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_replicas_and_restarts_agree_while_weights_change(
    people: int, start_service: Callable[..., Service]
) -> None:
    replicas = [start_service() for _ in range(REPLICAS)]
    create(replicas[0], what=definition(50, 50))
    start(replicas[0])
    names = [f"u-{number}" for number in range(people)]
    early = names[: people // 3]
    first, *others = assigned_by_all(replicas, early, seed=1)
    assert all(each == first for each in others)
    reweigh(replicas[1], 5)
    found, *others = assigned_by_all(replicas, names, seed=2)
    assert all(each == found for each in others)
    assert len(found) == people
    assert {name: found[name] for name in early} == first
    late = [found[name] for name in names[people // 3 :]]
    assert late.count("a") < 0.1 * len(late)
    for replica in replicas:
        replica.application.stop()
    assert assign_all(start_service(), names) == found
