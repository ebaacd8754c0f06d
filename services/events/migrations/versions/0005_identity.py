"""Who became whom: merges, erasures, tombstones."""

from alembic import op

revision = "0005"
down_revision = "0004"

# Positions grow in the order of commits, for they are given out under the exclusive identity lock.
# kind 1: an anonymous id became a user's; 2: somebody was erased (to_key NULL) or anonymised (to_key: whose
# the events are now). While a change is pending its events are still stored under from_key.
LOG = """
CREATE TABLE identity_log (
    position int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind int2 NOT NULL CHECK (kind BETWEEN 1 AND 2),
    from_key int4 NOT NULL,
    to_key int4,
    logged_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    pending bool NOT NULL DEFAULT true,
    events int8 NOT NULL DEFAULT 0
);
CREATE INDEX identity_log_from_key_idx ON identity_log (from_key);
CREATE INDEX identity_log_pending_idx ON identity_log (position) WHERE pending;
"""

# Ids that came together in an event. Those that were merged are deleted; a refused pair stays, so that it is
# audited once.
REQUESTS = """
CREATE TABLE merge_requests (
    anonymous_key int4 NOT NULL,
    user_key int4 NOT NULL,
    requested_time timestamptz NOT NULL DEFAULT now(),
    place int4 NOT NULL,
    refused bool NOT NULL DEFAULT false,
    PRIMARY KEY (anonymous_key, user_key)
);
CREATE INDEX merge_requests_waiting_idx ON merge_requests (requested_time, place) WHERE NOT refused;
CREATE INDEX merge_requests_user_key_idx ON merge_requests (user_key);
ALTER TABLE users ADD COLUMN merged_into int4;
CREATE INDEX users_merged_into_idx ON users (merged_into) WHERE merged_into IS NOT NULL;
"""

# who_digest is a keyed hash of users.who_hash: the one does not lead to the other without the key.
TOMBSTONES = """
CREATE TABLE tombstones (
    who_digest bytea PRIMARY KEY,
    erased_time timestamptz NOT NULL,
    mode int2 NOT NULL CHECK (mode BETWEEN 1 AND 2)
);
"""


def upgrade() -> None:
    """Add the tables; nothing stored changes."""
    for statements in (LOG, REQUESTS, TOMBSTONES):
        op.execute(statements)


def downgrade() -> None:
    """Forget who was merged and erased; events stay where merges moved them."""
    op.execute(
        "DROP TABLE tombstones, merge_requests, identity_log;"
        "DROP INDEX users_merged_into_idx; ALTER TABLE users DROP COLUMN merged_into"
    )
