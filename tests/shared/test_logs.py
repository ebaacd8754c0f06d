import json
import logging
import subprocess
import sys

import psycopg
import pytest
import sqlalchemy

from shared.database import database_url
from shared.logs import JsonLines

NAME = "carla"
# Makes a pool, and throws it away.
DISPOSE = """
from shared import logs
from shared.database import create_engine
logs.configure("INFO")
create_engine("postgresql://db/brain", schema="s", pool_size=1, application_name="a").dispose()
"""
PROGRAM = """
import logging
from shared import logs
logs.configure("INFO")
logging.getLogger("a").debug("hidden")
logging.getLogger("a").info("line\\nbreak", extra={"rows": 3, "who": {"x"}})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("a").exception("failed")
"""


def test_every_record_from_the_level_on_is_one_line_of_json() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["level"], first["message"], first["rows"], first["who"]) == (
        "INFO",
        "line\nbreak",
        3,
        "{'x'}",
    )
    assert first["time"].endswith("+00:00")
    assert "ZeroDivisionError" in second["trace"]
    assert done.stdout == ""


def test_connections_come_and_go_without_a_word() -> None:
    done = subprocess.run([sys.executable, "-c", DISPOSE], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_record_brings_only_its_own_fields() -> None:
    record = logging.makeLogRecord({"name": "a", "msg": "hello", "levelname": "INFO"})
    assert set(json.loads(JsonLines().format(record))) == {"time", "level", "logger", "message"}


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT CAST(:value AS int)", "invalid input syntax for type integer"),
        ("INSERT INTO people VALUES (:value)", 'violates check constraint "people_name_check"'),
    ],
)
def test_a_trace_tells_what_postgresql_refused_and_not_the_value(
    empty_database: str, statement: str, told: str
) -> None:
    engine = sqlalchemy.create_engine(database_url(empty_database), hide_parameters=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE people (name text CHECK (name < 'b'))")
    with pytest.raises(sqlalchemy.exc.DBAPIError, match=NAME) as refused, engine.begin() as connection:
        connection.execute(sqlalchemy.text(statement), {"value": NAME})
    line = told_of(RuntimeError("while something was done"), refused.value)
    engine.dispose()
    assert told in line
    assert "while something was done" in line
    assert NAME not in line


def test_a_trace_does_not_tell_the_line_of_a_copy(empty_database: str) -> None:
    with psycopg.connect(empty_database) as connection:
        connection.execute("CREATE TABLE people (properties jsonb)")
        with (
            pytest.raises(psycopg.DataError, match=NAME) as refused,
            connection.cursor() as cursor,
            cursor.copy("COPY people FROM STDIN") as copy,
        ):
            copy.write(b'{"name": "carla \\\\u0000"}\n')
        connection.rollback()
    line = told_of(refused.value)
    assert "unsupported Unicode escape sequence" in line
    assert NAME not in line


def told_of(error: Exception, cause: Exception | None = None) -> str:
    """The line of a log about an error."""
    try:
        raise error from cause
    except type(error):
        record = logging.makeLogRecord({"name": "a", "msg": "failed", "exc_info": sys.exc_info()})
    trace: str = json.loads(JsonLines().format(record))["trace"]
    return trace
