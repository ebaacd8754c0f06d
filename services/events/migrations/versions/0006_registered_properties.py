"""Registered properties: roll-ups by day for each of their values."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A generation is one attempt at filling a property's roll-ups from history; its values have keys of their
# own. It has a row in property_fills once history is in.
PROPERTIES = """
CREATE SEQUENCE property_generations AS int4 NO CYCLE;
CREATE TABLE registered_properties (
    property_id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    path text[] COLLATE "C" NOT NULL,
    event text COLLATE "C",
    creator text NOT NULL,
    created_time timestamptz NOT NULL,
    generation int4,
    is_overfull bool NOT NULL DEFAULT false,
    CONSTRAINT registered_properties_path_event_key UNIQUE NULLS NOT DISTINCT (path, event)
);
CREATE TABLE property_fills (generation int4 PRIMARY KEY);
-- One row. Grows with every change of what ingest must know: which generations there are.
CREATE TABLE property_state (
    only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
    version int8 NOT NULL DEFAULT 0
);
INSERT INTO property_state DEFAULT VALUES;
"""

# The value of an event type's events as JSON text; NULL: those without the property.
VALUES = """
CREATE SEQUENCE property_value_keys AS int4 NO CYCLE;
CREATE TABLE property_values (
    value_key int4 PRIMARY KEY,
    generation int4 NOT NULL,
    event_key int4 NOT NULL,
    value_text text COLLATE "C",
    CONSTRAINT property_values_key UNIQUE NULLS NOT DISTINCT (generation, event_key, value_text)
);
"""

ROLLUPS = """
CREATE TABLE value_deltas (
    delta_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_hour int4 NOT NULL,
    last_hour int4 NOT NULL,
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE value_deltas ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE value_days (
    value_key int4 NOT NULL,
    day int4 NOT NULL,
    events int8 NOT NULL,
    value_sum numeric NOT NULL,
    known int4 NOT NULL,
    people int4 NOT NULL,
    actors int4 NOT NULL,
    user_keys bytea NOT NULL,
    PRIMARY KEY (value_key, day)
);
ALTER TABLE value_days ALTER COLUMN user_keys SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    """Create everything; nothing is registered."""
    for statements in (PROPERTIES, VALUES, ROLLUPS):
        op.execute(statements)


def downgrade() -> None:
    """Drop the registrations and what was made of them; events keep their properties."""
    op.execute(
        "DROP TABLE value_days, value_deltas, property_values, property_state, property_fills,"
        " registered_properties;"
        "DROP SEQUENCE property_value_keys, property_generations"
    )
