"""Looks for somebody in every column of every table, whatever its type."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

_COLUMNS = """
SELECT quote_ident(table_schema), quote_ident(table_name), quote_ident(column_name)
FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'
"""


def found(connection: "psycopg.Connection[Any]", wanted: Iterable[bytes]) -> list[str]:
    """Return the columns that contain one of the byte strings: in text, in JSON, or in bytea."""
    wanted = list(wanted)
    hits = []
    for schema, table, column in connection.execute(_COLUMNS.encode()).fetchall():
        for (text,) in connection.execute(f"SELECT {column}::text FROM {schema}.{table}".encode()).fetchall():
            data = (text or "").encode()
            if text and text.startswith("\\x"):
                data += bytes.fromhex(text[2:])
            if any(each in data for each in wanted):
                hits.append(f"{table}.{column}")
    return sorted(set(hits))


def ciphertexts(connection: "psycopg.Connection[Any]", keys: list[int]) -> list[bytes]:
    """Return hashes and encrypted ids of some keys."""
    query = "SELECT who_hash, who_encrypted FROM users WHERE user_key = ANY(%s)"
    return [
        each
        for row in connection.execute(query, [keys]).fetchall()
        for each in row
        if isinstance(each, bytes)
    ]
