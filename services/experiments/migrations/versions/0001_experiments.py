"""Experiments, who takes part in them, what they did, what was decided; the audit log."""

from alembic import op

revision = "0001"
down_revision = None

# Ids are encrypted, and found by a keyed hash of kind and id.
USERS = """
CREATE TABLE users (
    user_key int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind int2 NOT NULL CHECK (kind IN (1, 2)),
    who_hash bytea NOT NULL,
    who_encrypted bytea NOT NULL,
    CONSTRAINT users_kind_who_hash_key UNIQUE (kind, who_hash)
);
"""

# `definition` is brain.experiments.v1.ExperimentDefinition in protobuf's JSON. Each change of an experiment,
# its overrides included, takes the next number: who holds the highest has seen everything.
EXPERIMENTS = """
CREATE SEQUENCE experiment_changes;
CREATE TABLE experiments (
    experiment_id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text COLLATE "C" NOT NULL,
    definition jsonb NOT NULL,
    status int2 NOT NULL CHECK (status BETWEEN 1 AND 4),
    change int8 NOT NULL DEFAULT nextval('experiment_changes'),
    created_time timestamptz NOT NULL,
    started_time timestamptz,
    completed_time timestamptz,
    winner text,
    CONSTRAINT experiments_key_key UNIQUE (key)
);
CREATE INDEX experiments_change_idx ON experiments (change);
CREATE TABLE allocations (
    experiment_id int4 NOT NULL REFERENCES experiments,
    allocation int2 NOT NULL,
    -- Of each variant, in hundredths of a percent.
    shares int4[] NOT NULL,
    PRIMARY KEY (experiment_id, allocation)
);
"""

# No foreign keys where every call writes: checking them would lock the experiment's row each time.
# `allocation` is the one in force at the assignment, for the check of the sample ratio. exposed_time is NULL
# until the person takes part.
ASSIGNMENTS = """
CREATE TABLE assignments (
    experiment_id int4 NOT NULL,
    user_key int4 NOT NULL,
    variant int2 NOT NULL,
    allocation int2 NOT NULL,
    conflicting bool NOT NULL DEFAULT false,
    assigned_time timestamptz NOT NULL,
    exposed_time timestamptz,
    PRIMARY KEY (experiment_id, user_key)
);
CREATE TABLE overrides (
    experiment_id int4 NOT NULL REFERENCES experiments,
    user_key int4 NOT NULL REFERENCES users,
    variant int2 NOT NULL,
    PRIMARY KEY (experiment_id, user_key)
);
"""

# Values in millionths: sums, and sums of squares as numeric, are exact.
CONVERSIONS = """
CREATE TABLE conversions (
    experiment_id int4 NOT NULL,
    user_key int4 NOT NULL,
    metric text COLLATE "C" NOT NULL,
    conversion_time timestamptz NOT NULL,
    value int8 NOT NULL,
    conversion_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (experiment_id, conversion_id)
);
CREATE INDEX conversions_experiment_id_metric_idx
    ON conversions (experiment_id, metric, user_key) INCLUDE (conversion_time, value);
"""

# `results` is brain.experiments.v1.Results in protobuf's JSON.
DECISIONS = """
CREATE TABLE decisions (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decision_id text COLLATE "C" NOT NULL,
    experiment_id int4 NOT NULL REFERENCES experiments,
    metric text NOT NULL,
    variant text NOT NULL,
    decided_time timestamptz NOT NULL,
    decided_by text NOT NULL,
    override_reason text NOT NULL,
    objections text[] NOT NULL,
    results jsonb NOT NULL,
    CONSTRAINT decisions_decision_id_key UNIQUE (decision_id)
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
    for statements in (USERS, EXPERIMENTS, ASSIGNMENTS, CONVERSIONS, DECISIONS, AUDIT):
        op.execute(statements)


def downgrade() -> None:
    """Drop everything, assignments included."""
    op.execute(
        "DROP TABLE audit_entries, decisions, conversions, overrides, assignments, allocations, experiments;"
        "DROP TABLE users;"
        "DROP SEQUENCE experiment_changes"
    )
