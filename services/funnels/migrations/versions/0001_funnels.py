"""Funnels, what people were recorded to have done in them, who was erased; the audit log."""

from alembic import op

revision = "0001"
down_revision = None

# Ids are encrypted, and found by a keyed hash of kind and id.
USERS = """
CREATE TABLE users (
    user_key int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind int2 NOT NULL CHECK (kind BETWEEN 1 AND 3),
    who_hash bytea NOT NULL,
    who_encrypted bytea NOT NULL,
    CONSTRAINT users_kind_who_hash_key UNIQUE (kind, who_hash)
);
"""

# `definition` is brain.funnels.v1.Funnel in protobuf's JSON, without what the other columns hold.
FUNNELS = """
CREATE TABLE funnels (
    funnel_number int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    funnel_id text COLLATE "C" NOT NULL,
    definition jsonb NOT NULL,
    active bool NOT NULL DEFAULT true,
    creator text NOT NULL,
    created_time timestamptz NOT NULL,
    deactivated_time timestamptz,
    CONSTRAINT funnels_funnel_id_key UNIQUE (funnel_id)
);
"""

# The foreign key keeps a record from outliving its person: whoever records while they are erased waits, and
# is refused then.
RECORDS = """
CREATE TABLE step_records (
    funnel_number int4 NOT NULL,
    step_time timestamptz NOT NULL,
    user_key int4 NOT NULL,
    step int2 NOT NULL,
    PRIMARY KEY (funnel_number, step_time, user_key, step),
    CONSTRAINT step_records_user_key_fkey FOREIGN KEY (user_key) REFERENCES users ON DELETE CASCADE
);
CREATE INDEX step_records_user_key_idx ON step_records (user_key);
"""

# who_digest is a keyed hash of users.who_hash: the one does not lead to the other without the key.
TOMBSTONES = """
CREATE TABLE tombstones (
    who_digest bytea PRIMARY KEY,
    erased_time timestamptz NOT NULL,
    mode int2 NOT NULL CHECK (mode BETWEEN 1 AND 2)
);
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
    """Create everything."""
    for statements in (USERS, FUNNELS, RECORDS, TOMBSTONES, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything, step records included."""
    op.execute("DROP TABLE audit_entries, tombstones, step_records, funnels, users")
