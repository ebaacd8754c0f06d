"""Predictions, the runs of models that made them, what came of them; who they are about; the audit log."""

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
-- Keyed hashes of people who were erased: nothing is kept of them about what began before.
CREATE TABLE tombstones (
    who_digest bytea PRIMARY KEY,
    erased_time timestamptz NOT NULL,
    mode int2 NOT NULL CHECK (mode BETWEEN 1 AND 2)
);
"""

# `definition` is what a run was made from and how it did, as JSON. `question` is the request that can be read
# again for actual values: brain.forecasting.v1.MetricReference or PurchaseHistory, serialized.
PREDICTIONS = """
CREATE TABLE model_runs (
    run_id text COLLATE "C" PRIMARY KEY,
    created_time timestamptz NOT NULL,
    created_by text NOT NULL,
    question bytea NOT NULL,
    definition jsonb NOT NULL
);
CREATE TABLE predictions (
    prediction_id text COLLATE "C" PRIMARY KEY,
    run_id text COLLATE "C" REFERENCES model_runs,
    type int2 NOT NULL CHECK (type BETWEEN 1 AND 5),
    source text COLLATE "C" NOT NULL,
    metric text COLLATE "C" NOT NULL,
    labels jsonb NOT NULL,
    -- brain.forecasting.v1.MetricReference, serialized; NULL where it is about something else.
    reference bytea,
    interval int2 NOT NULL,
    user_key int4 REFERENCES users,
    target text NOT NULL,
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL CHECK (period_end > period_start),
    predicted float8 NOT NULL,
    level_ratio float8,
    lower float8,
    upper float8,
    confidence_ratio float8,
    horizon int4 NOT NULL CHECK (horizon > 0),
    features jsonb,
    model text NOT NULL,
    model_version text COLLATE "C" NOT NULL,
    scale float8 CHECK (scale > 0),
    created_time timestamptz NOT NULL,
    -- When to look for the actual value next; NULL where nobody needs to.
    check_time timestamptz
);
CREATE INDEX predictions_period_start_idx ON predictions (period_start, prediction_id);
CREATE INDEX predictions_check_time_idx ON predictions (check_time) WHERE check_time IS NOT NULL;
CREATE INDEX predictions_user_key_idx ON predictions (user_key) WHERE user_key IS NOT NULL;
CREATE TABLE actuals (
    prediction_id text COLLATE "C" PRIMARY KEY REFERENCES predictions ON UPDATE CASCADE,
    actual float8 NOT NULL,
    accuracy_ratio float8 NOT NULL CHECK (accuracy_ratio BETWEEN 0 AND 1),
    recorded_time timestamptz NOT NULL,
    -- Who recorded it; NULL where it was read from the metric's source.
    recorded_by text
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
    for statements in (USERS, PREDICTIONS, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything, predictions included."""
    op.execute("DROP TABLE audit_entries, actuals, predictions, model_runs, tombstones, users")
