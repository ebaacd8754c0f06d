import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brain_client.memory_events import Running, Store, running


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def served(store: Store) -> Iterator[Running]:
    yield from running(store)


@pytest.fixture
def directory(scratch_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory."""
    path = Path(tempfile.mkdtemp(dir=scratch_directory))
    monkeypatch.chdir(path)
    return path
