"""Who was erased."""

from alembic import op

revision = "0003"
down_revision = "0002"

# who_digest is a keyed hash of users.who_hash: the one does not lead to the other without the key.
TOMBSTONES = """
CREATE TABLE tombstones (
    who_digest bytea PRIMARY KEY,
    erased_time timestamptz NOT NULL,
    mode int2 NOT NULL CHECK (mode BETWEEN 1 AND 2)
);
"""


def upgrade() -> None:
    """Add the table; nothing stored changes."""
    op.execute(TOMBSTONES)


def downgrade() -> None:
    """Forget who was erased."""
    op.execute("DROP TABLE tombstones")
