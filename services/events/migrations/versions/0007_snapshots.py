"""Saved dashboard states."""

from alembic import op

revision = "0007"
down_revision = "0006"

# The state is kept as text: it is given back as it came, and JSON that PostgreSQL would refuse is no concern
# of ours.
SNAPSHOTS = """
CREATE TABLE snapshots (
    snapshot_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    state text NOT NULL,
    creator text NOT NULL,
    created_time timestamptz NOT NULL,
    updated_time timestamptz NOT NULL
);
CREATE INDEX snapshots_created_time_snapshot_id_idx ON snapshots (created_time, snapshot_id);
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(SNAPSHOTS)


def downgrade() -> None:
    """Drop it, snapshots included."""
    op.execute("DROP TABLE snapshots")
