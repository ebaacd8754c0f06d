"""Dictionaries, events by month, roll-ups and their deltas, the audit log."""

from alembic import op

revision = "0001"
down_revision = None

# Keys below 2^30 are people: signed-in users in the lower half, anonymous ids in the upper one. Session-only
# actors lie above. So a bitmap of keys answers "known", "people" and "actors" by cutting it at two places.
USERS = """
CREATE SEQUENCE known_user_keys AS int4 MINVALUE 1 MAXVALUE 536870911 NO CYCLE;
CREATE SEQUENCE anonymous_user_keys AS int4 MINVALUE 536870912 MAXVALUE 1073741823 NO CYCLE;
CREATE SEQUENCE session_user_keys AS int4 MINVALUE 1073741824 MAXVALUE 2147483647 NO CYCLE;
CREATE TABLE users (
    user_key int4 PRIMARY KEY,
    kind int2 NOT NULL CHECK (kind BETWEEN 1 AND 3),
    who_hash bytea NOT NULL,
    who_encrypted bytea NOT NULL,
    CONSTRAINT users_kind_who_hash_key UNIQUE (kind, who_hash)
);
"""

# 0 stands for "any event" in the roll-ups, so no event may have it.
EVENT_TYPES = """
CREATE TABLE event_types (
    event_key int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY CHECK (event_key > 0),
    event text COLLATE "C" NOT NULL,
    category text COLLATE "C" NOT NULL,
    CONSTRAINT event_types_event_category_key UNIQUE (event, category)
);
"""

# event_id_text keeps ids that are not canonical UUIDs; event_id is then a hash of it.
# anonymous_key is set where an event came with both a user and an anonymous id.
EVENTS = """
CREATE TABLE events (
    event_time timestamptz NOT NULL,
    received_time timestamptz NOT NULL,
    value int8,
    event_id uuid NOT NULL,
    user_key int4 NOT NULL,
    event_key int4 NOT NULL CHECK (event_key > 0),
    anonymous_key int4,
    session_id text COLLATE "C" NOT NULL,
    event_id_text text COLLATE "C",
    page text COLLATE "C",
    referrer text COLLATE "C",
    user_agent text COLLATE "C",
    properties jsonb,
    PRIMARY KEY (user_key, event_time, event_id)
) PARTITION BY RANGE (event_time);
CREATE INDEX events_event_key_event_time_idx ON events (event_key, event_time) INCLUDE (user_key);
"""

# Bitmaps do not compress further; EXTERNAL saves trying.
ROLLUPS = """
CREATE TABLE event_deltas (
    delta_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_hour int4 NOT NULL,
    last_hour int4 NOT NULL,
    created_time timestamptz NOT NULL DEFAULT now(),
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE event_deltas ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE event_hours (
    event_key int4 NOT NULL,
    hour int4 NOT NULL,
    events int8 NOT NULL,
    value_sum numeric NOT NULL,
    revision int8 NOT NULL,
    known int4 NOT NULL,
    people int4 NOT NULL,
    actors int4 NOT NULL,
    user_keys bytea NOT NULL,
    PRIMARY KEY (event_key, hour)
);
ALTER TABLE event_hours ALTER COLUMN user_keys SET STORAGE EXTERNAL;
CREATE TABLE event_days (
    event_key int4 NOT NULL,
    day int4 NOT NULL,
    events int8 NOT NULL,
    value_sum numeric NOT NULL,
    known int4 NOT NULL,
    people int4 NOT NULL,
    actors int4 NOT NULL,
    user_keys bytea NOT NULL,
    PRIMARY KEY (event_key, day)
);
ALTER TABLE event_days ALTER COLUMN user_keys SET STORAGE EXTERNAL;
-- One row. Who folds deltas holds it; it also says whose calendar the days follow.
CREATE TABLE rollup_state (
    only_row bool PRIMARY KEY DEFAULT true CHECK (only_row),
    reporting_time_zone text
);
INSERT INTO rollup_state DEFAULT VALUES;
"""

AUDIT = """
CREATE TABLE audit_entries (
    entry_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entry_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL
);
"""


def upgrade() -> None:
    """Create everything; partitions are made by the running service."""
    for statements in (USERS, EVENT_TYPES, EVENTS, ROLLUPS, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything, events included."""
    op.execute(
        "DROP TABLE audit_entries, rollup_state, event_days, event_hours, event_deltas, events, event_types;"
        "DROP TABLE users;"
        "DROP SEQUENCE known_user_keys, anonymous_user_keys, session_user_keys"
    )
