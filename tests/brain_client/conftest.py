from collections.abc import Iterator

import pytest

from tests.brain_client.memory_events import Running, Store, running


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def served(store: Store) -> Iterator[Running]:
    yield from running(store)
