"""Named cohorts."""

from alembic import op

revision = "0002"
down_revision = "0001"

# start_event is NULL for any event. start_filters is json, not jsonb: numbers come back as they were given.
COHORTS = """
CREATE TABLE cohorts (
    cohort_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    description text NOT NULL,
    start_event text,
    start_filters json NOT NULL,
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL CHECK (end_time > start_time),
    time_zone text NOT NULL,
    entry text NOT NULL,
    create_time timestamptz NOT NULL
);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(COHORTS)


def downgrade() -> None:
    """Drop all cohorts; nobody's events are touched."""
    op.execute("DROP TABLE cohorts")
