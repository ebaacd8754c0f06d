"""Sessions, the totals of those that begin in each quarter hour, and the runs that wait to be folded."""

from alembic import op

revision = "0003"
down_revision = "0002"

# Times are Unix microseconds.
SESSIONS = """
CREATE TABLE session_deltas (
    delta_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last_time int8 NOT NULL,
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE session_deltas ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE sessions (
    user_key int4 NOT NULL,
    session_hash int8 NOT NULL,
    start_time int8 NOT NULL,
    end_time int8 NOT NULL,
    events int4 NOT NULL,
    pages int4 NOT NULL,
    PRIMARY KEY (user_key, session_hash, start_time)
);
CREATE TABLE session_slots (
    slot int4 PRIMARY KEY,
    sessions int8 NOT NULL,
    duration_micros int8 NOT NULL,
    pages int8 NOT NULL,
    bounces int8 NOT NULL
);
-- One row. Who changes sessions holds it.
CREATE TABLE session_state (only_row bool PRIMARY KEY DEFAULT true CHECK (only_row));
INSERT INTO session_state DEFAULT VALUES;
"""


def upgrade() -> None:
    """Create the tables, empty."""
    op.execute(SESSIONS)


def downgrade() -> None:
    """Drop them; sessions can be recounted from events."""
    op.execute("DROP TABLE session_state, session_slots, sessions, session_deltas")
