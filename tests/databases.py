"""Databases for tests: one template per service, migrated once, cloned for each test."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from deploy.postgres import EmbeddedPostgres
from shared import migrations

_numbers = itertools.count(1)


def make_template(postgres: EmbeddedPostgres, service: str) -> str:
    """Create a database with the migrations of a service applied; return its name."""
    name = f"template_{service}"
    postgres.create_database(name)
    postgres.create_schema(name, service)
    migrations.upgrade(postgres.url(name, service), service, f"services.{service}")
    with postgres.connect() as connection:
        # Clones are new databases, to which the template's own setting does not extend.
        bind = sql.SQL("ALTER ROLE {} SET search_path = {}")
        connection.execute(bind.format(sql.Identifier(service), sql.Identifier(service)))
    return name


@contextmanager
def clone(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """Yield the name of a copy of `template` that is dropped at the end, whoever is still connected."""
    name = f"test_{next(_numbers)}"
    with postgres.connect() as connection:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield name
    finally:
        if postgres.is_running():
            with postgres.connect() as connection:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
