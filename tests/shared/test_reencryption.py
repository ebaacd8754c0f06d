"""Rotating keys: what an older key encrypted is encrypted anew, beside writers, and in pieces."""

import base64
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from psycopg import sql

from deploy.postgres import EmbeddedPostgres
from services.alerts.store.recipients import STORED_ADDRESSES
from services.events.users import STORED_IDS as STORED_IDS_OF_EVENTS
from services.funnels.__main__ import PROGRAM
from shared.database import create_engine
from shared.encryption import BlindIndex, DecryptionError, EncryptedColumn, Keyring
from shared.people import STORED_IDS, UserDictionary
from shared.reencryption import Rotation, rotate_keys
from shared.running import run
from shared.who import PersonKind, Who
from tests import databases

ONE, TWO, OTHER = (f"{number}:{base64.b64encode(os.urandom(32)).decode()}" for number in (1, 2, 3))
INDEX = base64.b64encode(os.urandom(32)).decode()
COLUMNS = {
    "alerts": STORED_ADDRESSES,
    "events": STORED_IDS_OF_EVENTS,
    "experiments": STORED_IDS,
    "forecasting": STORED_IDS,
    "funnels": STORED_IDS,
}
KEY_IDS = "SELECT get_byte(who_encrypted, 0), count(*) FROM users GROUP BY 1 ORDER BY 1"
FAILS = "ALTER TABLE users ADD CHECK (user_key <= 15 OR get_byte(who_encrypted, 0) = 1)"
ENCRYPTED = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = %s AND column_name LIKE '%%encrypted%%'
"""
AUDITED = "SELECT subject, details FROM audit_entries WHERE action = 'rotate-keys' ORDER BY entry_id"


@pytest.fixture
def engine(forecasting_database: str) -> Iterator[sqlalchemy.Engine]:
    made = create_engine(forecasting_database, schema="forecasting", pool_size=4, application_name="test")
    yield made
    made.dispose()


def dictionary(engine: sqlalchemy.Engine, keys: str) -> UserDictionary:
    return UserDictionary(engine, Keyring.parse(keys), BlindIndex.parse(INDEX))


def rotation(engine: sqlalchemy.Engine, keys: str, rows_at_once: int = 10) -> Rotation:
    return Rotation(engine, Keyring.parse(keys), STORED_IDS, rows_at_once)


def people(start: int, end: int) -> list[Who]:
    return [(PersonKind.USER, f"u-{number}") for number in range(start, end)]


def key_ids(engine: sqlalchemy.Engine) -> dict[int, int]:
    with engine.begin() as connection:
        return {row[0]: row[1] for row in connection.execute(sqlalchemy.text(KEY_IDS))}


def test_an_interrupted_rotation_goes_on_where_it_was_and_the_old_key_can_go(
    engine: sqlalchemy.Engine,
) -> None:
    keys = dictionary(engine, ONE).keys(people(0, 95))
    rotating = rotation(engine, f"{TWO},{ONE}").pages()
    assert sum(page.reencrypted for page in islice(rotating, 3)) == 30
    rotating.close()  # type: ignore[attr-defined]  # killed between two transactions
    assert key_ids(engine) == {1: 65, 2: 30}
    everybody = {key: who for who, key in keys.items()}
    assert dictionary(engine, f"{TWO},{ONE}").read(list(everybody)) == everybody
    again = rotation(engine, f"{TWO},{ONE}")
    assert sum(page.reencrypted for page in again.pages()) == 65
    assert again.remaining() == 0
    assert dictionary(engine, TWO).read(list(everybody)) == everybody
    with pytest.raises(DecryptionError):
        dictionary(engine, ONE).read(list(everybody))
    assert sum(page.reencrypted for page in again.pages()) == 0, "there is nothing left to do"


def test_a_transaction_that_fails_loses_nothing(engine: sqlalchemy.Engine) -> None:
    keys = dictionary(engine, ONE).keys(people(0, 20))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(FAILS))
    with pytest.raises(psycopg.errors.CheckViolation):
        list(rotation(engine, f"{TWO},{ONE}").pages())
    assert key_ids(engine) == {1: 10, 2: 10}
    assert len(dictionary(engine, f"{TWO},{ONE}").read(list(keys.values()))) == 20


def test_people_come_and_go_while_keys_are_rotated(engine: sqlalchemy.Engine) -> None:
    """Services already encrypt with the new key then, and hold both."""
    before = dictionary(engine, ONE).keys(people(0, 600))
    running = dictionary(engine, f"{TWO},{ONE}")
    gone = [key for key in before.values() if key % 7 == 0]

    def come_and_go() -> dict[Who, int]:
        found: dict[Who, int] = {}
        for start in range(600, 1_200, 20):
            found |= running.keys(people(start, start + 20))
            with engine.begin() as connection:
                forget = sqlalchemy.text("DELETE FROM users WHERE user_key = :key")
                for key in gone[(start - 600) // 10 : (start - 600) // 10 + 2]:
                    connection.execute(forget, {"key": key})
        return found

    rotating = rotation(engine, f"{TWO},{ONE}", rows_at_once=25)
    with ThreadPoolExecutor(1) as beside:
        meanwhile = beside.submit(come_and_go)
        list(rotating.pages())
        came = meanwhile.result()
    assert rotating.remaining() == 0
    expected = {key: who for who, key in (before | came).items() if key not in gone[:60]}
    assert dictionary(engine, TWO).read([*before.values(), *came.values()]) == expected


def test_rows_that_no_key_reads_are_left_and_counted(engine: sqlalchemy.Engine) -> None:
    dictionary(engine, OTHER).keys(people(0, 5))
    dictionary(engine, ONE).keys(people(5, 12))
    rotating = rotation(engine, f"{TWO},{ONE}")
    pages = list(rotating.pages())
    assert (sum(page.reencrypted for page in pages), sum(page.unreadable for page in pages)) == (7, 5)
    assert rotating.remaining() == 5
    assert key_ids(engine) == {2: 7, 3: 5}


def fill(url: str, column: EncryptedColumn, ring: Keyring, rows: int) -> None:
    """Rows as the service writes them: an id of a kind or channel."""
    kind = "channel" if column.table == "recipients" else "kind"
    names = (column.table, column.key, kind, column.associated, column.encrypted)
    insert = sql.SQL("INSERT INTO {} ({}, {}, {}, {}) OVERRIDING SYSTEM VALUE VALUES (%s, 1, %s, %s)")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        stored = [(each, bytes([each]), ring.encrypt(b"ada", bytes([each]))) for each in range(1, rows + 1)]
        cursor.executemany(insert.format(*map(sql.Identifier, names)), stored)


def settings_of(service: str, url: str, keys: str, public_key_file: Path) -> dict[str, object]:
    return {
        "database_url": url,
        "database_schema": service,
        "encryption_keys": keys,
        "blind_index_key": INDEX,
        "token_public_key_file": public_key_file,
    }


@pytest.mark.parametrize("service", COLUMNS)
def test_each_service_rotates_all_it_encrypts(
    service: str,
    postgres: EmbeddedPostgres,
    template_database: Callable[[str], str],
    public_key_file: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = importlib.import_module(f"services.{service}.__main__").PROGRAM
    column = program.encrypted
    assert column == COLUMNS[service]
    with databases.clone(postgres, template_database(service)) as name:
        url = postgres.url(name, service)
        with psycopg.connect(url) as connection:
            found = connection.execute(ENCRYPTED, [service]).fetchall()
        assert found == [(column.table, column.encrypted)], "there is no other"
        fill(url, column, Keyring.parse(ONE), 3)
        settings = program.settings_class(**settings_of(service, url, f"{TWO},{ONE}", public_key_file))
        assert rotate_keys(settings, column) == 0
        told = capsys.readouterr().out
        assert told == f"{column.table}: 3 rows encrypted anew under key 2, 0 remain. Older keys may go.\n"
        with psycopg.connect(url) as connection:
            said = connection.execute(AUDITED).fetchall()
    subject = f"{column.table}.{column.encrypted}"
    assert said == [
        (subject, {"key_id": 2, "done": False}),
        (subject, {"key_id": 2, "done": True, "reencrypted": 3, "remaining": 0}),
    ]


def test_the_command_says_what_still_needs_an_older_key(funnels_database: str, public_key_file: Path) -> None:
    fill(funnels_database, STORED_IDS, Keyring.parse(OTHER), 2)
    settings = settings_of("funnels", funnels_database, f"{TWO},{ONE}", public_key_file)
    named = {f"FUNNELS_{name.upper()}": str(value) for name, value in settings.items()}
    done = subprocess.run(
        [sys.executable, "-m", "services.funnels", "rotate-keys"],
        env={**os.environ, **named, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "0 rows encrypted anew under key 2, 2 remain" in done.stdout
    assert "No key of this keyring reads 2 of them" in done.stdout


def test_an_unknown_command_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["…", "rotate"])
    with pytest.raises(SystemExit, match=r"usage: python -m services.funnels \[migrate \| rotate-keys \| "):
        run(PROGRAM)
