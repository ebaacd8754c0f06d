"""Columns of a name's events of a day, stored beside the events they are made from."""

from alembic import op

revision = "0009"
down_revision = "0008"

# Little-endian columns sorted by user key, then time, good while the events have this revision; amounts are
# NULL where no event has a value. Numbers as these do not compress further; EXTERNAL saves trying.
STORED_CHUNKS = """
CREATE TABLE stored_chunks (
    event text COLLATE "C" NOT NULL,
    day int4 NOT NULL,
    revision int8 NOT NULL,
    stored_time timestamptz NOT NULL DEFAULT now(),
    user_keys bytea NOT NULL,
    event_times bytea NOT NULL,
    amounts bytea,
    PRIMARY KEY (event, day)
);
ALTER TABLE stored_chunks ALTER COLUMN user_keys SET STORAGE EXTERNAL;
ALTER TABLE stored_chunks ALTER COLUMN event_times SET STORAGE EXTERNAL;
ALTER TABLE stored_chunks ALTER COLUMN amounts SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    """Create the table; the running service fills it."""
    op.execute(STORED_CHUNKS)


def downgrade() -> None:
    """Drop it: everything in it is stored as events too."""
    op.execute("DROP TABLE stored_chunks")
