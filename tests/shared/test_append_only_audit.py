"""The audit log of every service takes entries and loses none, whoever asks."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from deploy.postgres import EmbeddedPostgres
from shared import migrations
from tests import databases

SECURITY = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
SERVICES = ("alerts", "events", "experiments", "forecasting", "funnels")
ADD = "INSERT INTO audit_entries (actor, action, subject, details) VALUES ('a', 'b', 'c', '{}')"
COUNT = "SELECT count(*) FROM audit_entries"
CHANGES = (
    "UPDATE audit_entries SET actor = 'nobody'",
    "UPDATE audit_entries SET actor = 'nobody' WHERE false",
    "DELETE FROM audit_entries",
    "TRUNCATE audit_entries",
    "MERGE INTO audit_entries USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "SET session_replication_role = replica; DELETE FROM audit_entries",
)
REFUSED = r"append-only|session_replication_role"
WAYS_AROUND = (
    "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
    "DROP TRIGGER audit_entries_append_only ON audit_entries",
    "DROP TABLE audit_entries",
    (
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN RETURN NEW; END'"
    ),
)

Template = Callable[[str], str]


def entries(connection: "psycopg.Connection[tuple[object, ...]]") -> object:
    row = connection.execute(COUNT).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("role", ["its own", "superuser"])
def test_entries_are_added_and_never_changed(
    postgres: EmbeddedPostgres, template_database: Template, service: str, role: str
) -> None:
    template = template_database(service)
    with databases.clone(postgres, template) as name:
        url = postgres.url(name, service) if role == "its own" else postgres.url(name)
        options = f"-c search_path={service}"
        with psycopg.connect(url, autocommit=True, options=options) as connection:
            connection.execute(ADD)
            before = entries(connection)
            for change in CHANGES:
                with pytest.raises(errors.InsufficientPrivilege, match=REFUSED):
                    connection.execute(change)
            assert entries(connection) == before


def test_an_owner_of_its_own_keeps_the_service_from_the_ways_around(
    postgres: EmbeddedPostgres, events_template: str
) -> None:
    [harden] = re.findall(r"```sql\n(CREATE ROLE brain_audit.*?)```", SECURITY, re.DOTALL)
    with databases.clone(postgres, events_template) as name:
        with psycopg.connect(postgres.url(name), autocommit=True) as superuser:
            superuser.execute(harden)
        with psycopg.connect(postgres.url(name, "events"), autocommit=True) as service:
            for way in WAYS_AROUND:
                with pytest.raises(errors.InsufficientPrivilege, match="owner"):
                    service.execute(way)
            service.execute(ADD)
            assert entries(service)
        migrations.upgrade(postgres.url(name, "events"), "events", "services.events")
