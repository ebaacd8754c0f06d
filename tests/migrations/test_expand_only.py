"""What a release adds to its schema, the release before it must be able to live with: revisions expand.

Both run at once while a new release rolls out, and the old one alone when it is taken back.
"""

import importlib.resources
import io
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from shared import revisions

SERVICES = ("alerts", "events", "experiments", "forecasting", "funnels")

# What takes away, renames or narrows what code may rely on.
BREAKING = (
    r"DROP\s+(?:TABLE|COLUMN|VIEW|MATERIALIZED|SEQUENCE|FUNCTION|PROCEDURE|TRIGGER|TYPE|SCHEMA|INDEX)\b",
    r"DROP\s+(?:CONSTRAINT|DEFAULT)\b",
    r"\bRENAME\b",
    r"ALTER\s+(?:COLUMN\s+)?\w+\s+(?:SET\s+DATA\s+)?TYPE\b",
    r"SET\s+NOT\s+NULL\b",
    r"\A\s*TRUNCATE\b",
    r"CREATE\s+UNIQUE\s+INDEX\b",
    r"ADD\s+(?:CONSTRAINT|CHECK|UNIQUE|PRIMARY|FOREIGN|EXCLUDE)\b",
    r"ADD\s+(?:COLUMN\s+)?\w+\s+[^,;]*NOT\s+NULL(?![^,;]*DEFAULT)",
)

# (service, revision, what stands there) -> why the code before it works nevertheless.
HARMLESS = {
    ("experiments", "0002", "DROP INDEX"): "another index of the same table answers the same questions",
}


def revisions_of(service: str) -> list[ModuleType]:
    directory = Path(str(importlib.resources.files(f"services.{service}"))) / "migrations" / "versions"
    return [load(path) for path in sorted(directory.glob("[0-9]*.py"))]


def load(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"revision_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def statements(revision: ModuleType) -> str:
    """What the revision would execute, without comments."""
    written = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written}
    )
    with Operations.context(context):
        revision.upgrade()
    return re.sub(r"--[^\n]*", "", written.getvalue())


def breaking(sql: str) -> list[str]:
    """What in these statements is more than an expansion of what other revisions made."""
    own = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", sql))
    found = []
    for statement in sql.split(";"):
        on = re.search(r"(?:ALTER TABLE (?:ONLY )?|\bON )(\w+)", statement)
        if on is None or on[1] not in own:
            found += [match[0] for rule in BREAKING for match in re.finditer(rule, statement, re.IGNORECASE)]
    return [" ".join(each.upper().split()) for each in found]


@pytest.mark.parametrize("service", SERVICES)
def test_revisions_expand(service: str) -> None:
    found = {
        (service, revision.revision, each)
        for revision in revisions_of(service)
        for each in breaking(statements(revision))
    }
    assert found - HARMLESS.keys() == set()
    assert {key for key in HARMLESS if key[0] == service} - found == set(), "no longer needed"


@pytest.mark.parametrize("service", SERVICES)
def test_revisions_are_the_numbers_of_their_files_and_follow_one_another(service: str) -> None:
    made = revisions_of(service)
    numbers = [each.revision for each in made]
    assert numbers == [f"{number:04}" for number in range(1, len(made) + 1)]
    assert [each.down_revision for each in made] == [None, *numbers[:-1]]
    assert [Path(str(each.__file__)).name[:4] for each in made] == numbers
    assert revisions.newest(f"services.{service}") == numbers[-1]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE users",
        "ALTER TABLE users DROP COLUMN kind",
        "ALTER TABLE users RENAME TO people",
        "ALTER TABLE users ALTER COLUMN kind TYPE int8",
        "ALTER TABLE users ALTER kind SET DATA TYPE int8",
        "ALTER TABLE users ALTER COLUMN kind SET NOT NULL",
        "ALTER TABLE users ADD COLUMN age int2 NOT NULL",
        "ALTER TABLE users ADD age int2 NOT NULL, ADD name text DEFAULT ''",
        "ALTER TABLE users ADD CONSTRAINT users_key UNIQUE (kind)",
        "CREATE UNIQUE INDEX users_idx ON users (kind)",
        "TRUNCATE users",
    ],
)
def test_the_rule_finds_what_breaks(statement: str) -> None:
    assert breaking(f"CREATE TABLE others (kind int2); {statement};")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ADD COLUMN age int2",
        "ALTER TABLE users ADD COLUMN age int2 NOT NULL DEFAULT 0",
        "CREATE INDEX users_idx ON users (kind)",
        "CREATE TRIGGER note BEFORE DELETE OR TRUNCATE ON users FOR EACH STATEMENT EXECUTE FUNCTION note()",
        "CREATE TABLE others (kind int2 NOT NULL); CREATE UNIQUE INDEX others_idx ON others (kind)",
    ],
)
def test_the_rule_lets_expansions_pass(statement: str) -> None:
    assert not breaking(f"{statement};")
