"""Alerts, where they stand, what they saw, whom they told; silences; the audit log."""

from alembic import op

revision = "0001"
down_revision = None

# `definition` is brain.alerts.v1.AlertDefinition in protobuf's JSON, without its channels. A deleted alert
# stays until everything that its receivers are to be told is delivered.
ALERTS = """
CREATE TABLE alerts (
    alert_key int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id text COLLATE "C" NOT NULL,
    definition jsonb NOT NULL,
    -- Of the definition.
    version int4 NOT NULL DEFAULT 1,
    active bool NOT NULL DEFAULT true,
    created_time timestamptz NOT NULL,
    updated_time timestamptz NOT NULL,
    deleted_time timestamptz
);
CREATE UNIQUE INDEX alerts_alert_id_idx ON alerts (alert_id) WHERE deleted_time IS NULL;
"""

# Addresses are encrypted, and found by a keyed hash.
RECIPIENTS = """
CREATE TABLE recipients (
    recipient_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel int2 NOT NULL CHECK (channel BETWEEN 1 AND 5),
    address_hash bytea NOT NULL,
    address_encrypted bytea NOT NULL,
    CONSTRAINT recipients_channel_address_hash_key UNIQUE (channel, address_hash)
);
CREATE INDEX recipients_address_hash_idx ON recipients (address_hash);
CREATE TABLE alert_recipients (
    alert_key int8 NOT NULL REFERENCES alerts ON DELETE CASCADE,
    position int4 NOT NULL,
    channel int2 NOT NULL,
    recipient_id int8 NOT NULL REFERENCES recipients ON DELETE CASCADE,
    PRIMARY KEY (alert_key, channel, recipient_id)
);
CREATE INDEX alert_recipients_recipient_id_idx ON alert_recipients (recipient_id);
"""

# `source` is that of the definition, for the index by which due alerts are found. due_time is NULL while
# paused. Leases are in the database's time: clocks of replicas may differ. Whoever takes one, or changes the
# alert, raises the fence, and only who holds the latest fence writes.
STATES = """
CREATE TABLE alert_states (
    alert_key int8 PRIMARY KEY REFERENCES alerts ON DELETE CASCADE,
    source text COLLATE "C" NOT NULL,
    condition int2 NOT NULL DEFAULT 1,
    health int2 NOT NULL DEFAULT 1,
    since_time timestamptz NOT NULL,
    episode int4 NOT NULL DEFAULT 0,
    announced bool NOT NULL DEFAULT false,
    streak int4 NOT NULL DEFAULT 0,
    told int2[] NOT NULL DEFAULT '{}',
    fire_told_time timestamptz,
    acknowledged bool NOT NULL DEFAULT false,
    sequence int4 NOT NULL DEFAULT 0,
    owes bool NOT NULL DEFAULT false,
    held_until_time timestamptz,
    -- Windows that begin before are done with.
    judged_until_time timestamptz NOT NULL,
    attempts int4 NOT NULL DEFAULT 0,
    due_time timestamptz,
    lease_until_time timestamptz NOT NULL DEFAULT '-infinity',
    fence int8 NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE INDEX alert_states_due_idx ON alert_states (source, due_time) WHERE due_time IS NOT NULL;
CREATE TABLE episodes (
    alert_key int8 NOT NULL REFERENCES alerts ON DELETE CASCADE,
    episode int4 NOT NULL,
    fired_time timestamptz NOT NULL,
    resolved_time timestamptz,
    acknowledged_by text,
    acknowledged_time timestamptz,
    PRIMARY KEY (alert_key, episode)
);
"""

HISTORY = """
CREATE TABLE history (
    entry_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_key int8 NOT NULL REFERENCES alerts ON DELETE CASCADE,
    recorded_time timestamptz NOT NULL,
    window_start_time timestamptz,
    window_end_time timestamptz,
    value float8,
    baseline_value float8,
    compared float8,
    threshold float8,
    sample_size int8,
    condition int2 NOT NULL,
    health int2 NOT NULL,
    reason int2 NOT NULL,
    episode int4 NOT NULL,
    notices int2[] NOT NULL,
    held bool NOT NULL,
    -- Condition or health is another than before, or somebody was told.
    changed bool NOT NULL,
    detail text NOT NULL
);
CREATE INDEX history_alert_key_idx ON history (alert_key, entry_id);
CREATE INDEX history_changed_idx ON history (alert_key, entry_id) WHERE changed;
CREATE INDEX history_recorded_time_idx ON history USING brin (recorded_time);
"""

# What receivers are told, one row for each recipient of a notice; kept as the ledger of what was told.
# `notice` is what was known when it was decided. recipient_id becomes NULL where a person was anonymised.
OUTBOX = """
CREATE TABLE outbox (
    delivery_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_key int8 NOT NULL REFERENCES alerts ON DELETE CASCADE,
    episode int4 NOT NULL,
    kind int2 NOT NULL,
    sequence int4 NOT NULL,
    channel int2 NOT NULL,
    recipient_id int8 REFERENCES recipients ON DELETE SET NULL,
    notice jsonb NOT NULL,
    status int2 NOT NULL DEFAULT 1 CHECK (status BETWEEN 1 AND 3),
    attempts int4 NOT NULL DEFAULT 0,
    created_time timestamptz NOT NULL,
    due_time timestamptz NOT NULL,
    finished_time timestamptz,
    answer text NOT NULL DEFAULT '',
    lease_until_time timestamptz NOT NULL DEFAULT '-infinity',
    fence int8 NOT NULL DEFAULT 0,
    CONSTRAINT outbox_notice_key UNIQUE (alert_key, episode, kind, sequence, channel, recipient_id)
) WITH (fillfactor = 80);
CREATE INDEX outbox_due_idx ON outbox (channel, due_time) WHERE status = 1;
CREATE INDEX outbox_waiting_idx ON outbox (alert_key, channel, recipient_id, delivery_id) WHERE status = 1;
CREATE INDEX outbox_recipient_id_idx ON outbox (recipient_id);
"""

SILENCES = """
CREATE TABLE silences (
    silence_id text COLLATE "C" PRIMARY KEY,
    alert_ids text[] NOT NULL,
    labels jsonb NOT NULL,
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    comment text NOT NULL,
    created_by text NOT NULL
);
CREATE INDEX silences_end_time_idx ON silences (end_time);
"""

AUDIT = """
CREATE TABLE tombstones (
    who_digest bytea PRIMARY KEY,
    erased_time timestamptz NOT NULL,
    mode int2 NOT NULL
);
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
    for statements in (ALERTS, RECIPIENTS, STATES, HISTORY, OUTBOX, SILENCES, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything."""
    op.execute(
        "DROP TABLE audit_entries, tombstones, silences, outbox, history, episodes, alert_states,"
        " alert_recipients, recipients, alerts"
    )
