"""Statements for events that Citus distributes: the same answers, and nothing that Citus refuses.

There is no Citus here: the statements run on the plain table, and `citus_rules` judges their texts.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.pool import Pool

import services.events
from deploy.postgres import EmbeddedPostgres
from services.events import application
from services.events.config import EventsSettings
from services.events.conversion.first_activity import first_activity
from services.events.distribution import (
    Statement,
    command,
    distribute,
    is_distributed,
    note_distribution,
    statements,
)
from services.events.raw_retention import RawRetention
from shared.errors import FailedPrecondition
from tests.clock import Clock
from tests.services.events.citus_rules import violations
from tests.services.events.conftest import KEY, Service
from tests.services.events.raw_questions import questions, write

MENTIONS = re.compile(r"\b(?:FROM|JOIN|INTO|TABLE|COPY|LIKE)\s+events\b")
# What has a second form beside it, or is not run where events are distributed.
HERE_ONLY = {
    "services.events.reading.statements._RAW",
    "services.events.reading.value_statements._RAW",
    "services.events.reading.scanning._LOOK",
    "services.events.reading.orders._LOOK",
    "services.events.reading.listing._BY_TYPE",
    "services.events.conversion.first_activity._LOOK",
    "services.events.value_rollups.filling._LOOK",
    "services.events.ingest.store._LOOK",
}

# What must find nothing, in a database where `events` is to be distributed by user_key.
SCHEMA_RULES = {
    "every unique index holds the distribution column": """
        SELECT indexrelid::regclass FROM pg_index
        WHERE indrelid = 'events'::regclass AND (indisunique OR indisexclusion)
          AND NOT EXISTS (
              SELECT FROM pg_attribute
              WHERE attrelid = indrelid AND attname = 'user_key' AND attnum = ANY (indkey::int2[])
          )
    """,
    "no foreign key begins or ends there": """
        SELECT conname FROM pg_constraint
        WHERE contype = 'f' AND 'events'::regclass IN (conrelid, confrelid)
    """,
    "no trigger, rule or policy": """
        SELECT tgname::text FROM pg_trigger WHERE tgrelid = 'events'::regclass AND NOT tgisinternal
        UNION ALL SELECT rulename FROM pg_rewrite WHERE ev_class = 'events'::regclass
        UNION ALL SELECT polname FROM pg_policy WHERE polrelid = 'events'::regclass
    """,
    "no column fills itself": """
        SELECT attname FROM pg_attribute WHERE attrelid = 'events'::regclass AND attnum > 0
          AND (attidentity <> '' OR attgenerated <> '' OR atthasdef)
    """,
    "the distribution column cannot be absent": """
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'events'::regclass AND attname = 'user_key' AND NOT attnotnull
    """,
    "partitions are of one level, and it is a permanent table": """
        SELECT pg_class.oid::regclass FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
        WHERE (inhparent = 'events'::regclass AND relkind <> 'r')
           OR (pg_class.oid = 'events'::regclass AND (relkind <> 'p' OR relpersistence <> 'p'))
    """,
    "no view reads it": """
        SELECT ev_class::regclass FROM pg_rewrite JOIN pg_depend ON pg_depend.objid = pg_rewrite.oid
        WHERE refobjid = 'events'::regclass AND classid = 'pg_rewrite'::regclass
    """,
}


class Recorder:
    """What is sent to the databases that this process connects to."""

    def __init__(self) -> None:
        self.statements: set[str] = set()

    def connected(self, connection: psycopg.Connection[Any], _entry: object) -> None:
        """Record what a new connection sends, as it is before parameters go into it."""
        note = self.statements.add

        class Recording(psycopg.Cursor[Any]):
            def execute(self, query: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - psycopg's own
                note(query.decode() if isinstance(query, bytes) else str(query))
                return super().execute(query, *args, **options)

            def copy(self, statement: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - psycopg's own
                note(str(statement))
                return super().copy(statement, *args, **options)

        connection.cursor_factory = Recording


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    event.listen(Pool, "connect", recorder.connected)
    yield recorder
    event.remove(Pool, "connect", recorder.connected)


@pytest.fixture
def spread(
    recorder: Recorder,
    by_hand: None,
    start_service: Callable[..., Service],
    monkeypatch: pytest.MonkeyPatch,
) -> Service:
    """A replica that takes the events for distributed."""
    monkeypatch.setattr(application, "is_distributed", lambda _connection: True)
    service = start_service()
    note_distribution(True, service.engine)
    return service


def first_times(service: Service) -> list[int]:
    """Return when people were first active, in the order in which they were."""
    query = "SELECT user_key FROM events GROUP BY user_key ORDER BY min(event_time)"
    with service.engine.connect() as connection:
        keys = connection.exec_driver_sql(query).scalars().all()
    times: list[int] = first_activity(service.engine, np.array(keys, np.int32)).tolist()
    return times


def columns(engine: sqlalchemy.Engine) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    query = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'events'"
    with engine.connect() as connection:
        for table, column in connection.exec_driver_sql(query):
            found.setdefault(table, set()).add(column)
    return {table: frozenset(names) for table, names in found.items()}


def constants() -> Iterator[tuple[str, str]]:
    """Yield the names and texts of all statements about events in the service's modules."""
    for module in pkgutil.walk_packages(services.events.__path__, "services.events."):
        if "migrations" in module.name or module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            for text in _texts(value):
                if MENTIONS.search(text):
                    yield f"{module.name}.{name}", text


def _texts(value: object) -> list[str]:
    if isinstance(value, Statement):
        return [value.spread]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    return [value] if isinstance(value, str) else []


def as_pattern(template: str) -> re.Pattern[str]:
    """Return what finds a template of str.format in a statement made from it."""
    parts = [part.replace("{{", "{").replace("}}", "}") for part in re.split(r"\{\w*\}", template)]
    return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def test_answers_are_those_of_a_plain_table_and_nothing_is_sent_that_citus_refuses(
    spread: Service,
    start_service: Callable[..., Service],
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(spread)
    answers = dict(questions(spread))
    first_times(spread)
    sent = set(recorder.statements)

    monkeypatch.setattr(application, "is_distributed", lambda _connection: False)
    plain = start_service()
    for name, expected in questions(plain):
        assert list(answers[name]) == list(expected), name
    assert first_times(spread) == first_times(plain) == sorted(first_times(plain))

    recorder.statements.clear()
    assert RawRetention(1).drop(spread.engine, Clock.micros)
    sent |= recorder.statements
    known = columns(spread.engine)
    assert {text: found for text in sent if (found := violations(text, known))} == {}
    about = [statement for statement in sent if MENTIONS.search(statement)]
    unseen = {name for name, text in constants() if not any(as_pattern(text).search(each) for each in about)}
    assert unseen == HERE_ONLY


@pytest.mark.parametrize("name", sorted(HERE_ONLY))
def test_every_second_form_is_needed(name: str, engine: sqlalchemy.Engine) -> None:
    module, _, constant = name.rpartition(".")
    template = getattr(importlib.import_module(module), constant)
    filling = {"types": "true", "property": "properties"}
    filling["columns"] = "event_time" if constant == "_BY_TYPE" else ""
    names = dict.fromkeys(re.findall(r"\{(\w+)\}", template), "")
    found = violations(template.format(**names | filling), columns(engine))
    assert any("about events" in each for each in found)


def test_the_schema_is_one_that_citus_distributes(engine: sqlalchemy.Engine) -> None:
    with engine.connect() as connection:
        for rule, query in SCHEMA_RULES.items():
            assert connection.exec_driver_sql(query).all() == [], rule


def test_a_database_without_citus_is_left_as_it_is(engine: sqlalchemy.Engine) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        distribute(engine, "brain-events")
    assert refused.value.reason == "CITUS_MISSING"
    with engine.connect() as connection:
        assert not is_distributed(connection)
        assert (
            connection.exec_driver_sql(
                "SELECT count(*) FROM audit_entries WHERE action = 'distribute'"
            ).scalar()
            == 0
        )


# A stand-in for the extension: its catalog, and a function that only notes what it was asked for.
STAND_IN = """
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partkey text, colocation text);
GRANT SELECT ON pg_catalog.pg_dist_partition TO PUBLIC;
CREATE FUNCTION pg_catalog.create_distributed_table(regclass, text, colocate_with text) RETURNS void
    LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO pg_catalog.pg_dist_partition VALUES ($1, $2, $3)';
"""


@pytest.fixture
def citus(postgres: EmbeddedPostgres, engine: sqlalchemy.Engine) -> sqlalchemy.Engine:
    assert engine.url.database
    with postgres.connect(engine.url.database) as connection:
        connection.execute(STAND_IN.encode())
    return engine


def test_events_alone_are_distributed_and_once(citus: sqlalchemy.Engine) -> None:
    assert distribute(citus, "brain-events")
    assert not distribute(citus, "brain-events")
    with citus.connect() as connection:
        assert is_distributed(connection)
        rows = connection.exec_driver_sql("SELECT logicalrelid::text, partkey FROM pg_dist_partition").all()
        noted = "SELECT subject, details FROM audit_entries WHERE action = 'distribute'"
        assert connection.exec_driver_sql(noted).all() == [("table events", {"by": "user_key"})]
    assert [tuple(row) for row in rows] == [("events", "user_key")]


def test_events_are_not_distributed_under_a_running_service(
    citus: sqlalchemy.Engine, service: Service
) -> None:
    assert service.engine.url.database == citus.url.database
    with pytest.raises(FailedPrecondition) as refused:
        distribute(citus, "brain-events")
    assert refused.value.reason == "SERVICE_RUNNING"


def test_the_sql_can_be_read_first(
    events_database: str, public_key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = EventsSettings(
        database_url=events_database,
        token_public_key_file=public_key_file,
        encryption_keys=f"1:{KEY}",  # type: ignore[arg-type]  # text, as it comes from the environment
        blind_index_key=KEY,  # type: ignore[arg-type]  # text, as it comes from the environment
    )
    command(settings, ["--dry-run"])
    assert capsys.readouterr().out == "".join(f"{line};\n" for line in ("BEGIN", *statements(), "COMMIT"))
