"""Results kept up to date: what a change touches is noted with it, and folded into sums afterwards."""

from alembic import op

revision = "0002"
down_revision = "0001"

# A row for each statement and group, written by triggers: whoever changes anything, results follow.
# Participants of a variant are told as a difference; of conversions only whose they are.
TOUCHED = """
CREATE TABLE touched (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment_id int4 NOT NULL,
    user_keys int4[] NOT NULL,
    -- Whether it is about taking part; else about conversions alone.
    taking_part bool NOT NULL,
    variant int2,
    allocation int2,
    conflicting bool,
    participants int8 NOT NULL DEFAULT 0
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX touched_experiment_id_idx ON touched (experiment_id, number);
"""

FOLDED = """
-- Who folds results of an experiment holds its row. Folds up to `forgotten` are not in `folds` any more.
CREATE TABLE fold_states (
    experiment_id int4 PRIMARY KEY,
    fold int8 NOT NULL DEFAULT 0,
    forgotten int8 NOT NULL DEFAULT 0
);
-- Whose taking part changed in each fold.
CREATE TABLE folds (
    experiment_id int4 NOT NULL,
    fold int8 NOT NULL,
    user_keys int4[] NOT NULL,
    PRIMARY KEY (experiment_id, fold)
);
CREATE TABLE folded_participants (
    experiment_id int4 NOT NULL,
    variant int2 NOT NULL,
    allocation int2 NOT NULL,
    conflicting bool NOT NULL,
    participants int8 NOT NULL,
    PRIMARY KEY (experiment_id, variant, allocation, conflicting)
);
-- What of a person is in folded_sums.
CREATE TABLE folded_people (
    experiment_id int4 NOT NULL,
    user_key int4 NOT NULL,
    metric text COLLATE "C" NOT NULL,
    variant int2 NOT NULL,
    conversions int8 NOT NULL,
    total numeric NOT NULL,
    PRIMARY KEY (experiment_id, user_key, metric)
);
CREATE TABLE folded_sums (
    experiment_id int4 NOT NULL,
    metric text COLLATE "C" NOT NULL,
    variant int2 NOT NULL,
    converted int8 NOT NULL,
    conversions int8 NOT NULL,
    squared_conversions numeric NOT NULL,
    total numeric NOT NULL,
    squared_total numeric NOT NULL,
    product numeric NOT NULL,
    PRIMARY KEY (experiment_id, metric, variant)
);
"""

# Keys of the events service by ours. Whoever is erased from users leaves it too.
IDENTITIES = """
CREATE TABLE event_identities (user_key int4 PRIMARY KEY, event_user_key int4 NOT NULL);
CREATE FUNCTION forget_identities() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM event_identities USING gone WHERE event_identities.user_key = gone.user_key;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_identities AFTER DELETE ON users REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION forget_identities();
"""

# Folding looks for everything of a person.
CONVERSIONS_INDEX = """
CREATE INDEX conversions_experiment_id_user_key_idx
    ON conversions (experiment_id, user_key, metric) INCLUDE (conversion_time, value);
DROP INDEX conversions_experiment_id_metric_idx;
"""

# Statements that change nothing note nothing: there is no group.
FUNCTIONS = """
CREATE FUNCTION note_assignments() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO touched (experiment_id, user_keys, taking_part, variant, allocation, conflicting,
                             participants)
        SELECT experiment_id, array_agg(user_key), true, variant, allocation, conflicting,
               -count(exposed_time)
        FROM gone GROUP BY experiment_id, variant, allocation, conflicting;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO touched (experiment_id, user_keys, taking_part, variant, allocation, conflicting,
                             participants)
        SELECT experiment_id, array_agg(user_key), true, variant, allocation, conflicting,
               count(exposed_time)
        FROM came GROUP BY experiment_id, variant, allocation, conflicting;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION note_people() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO touched (experiment_id, user_keys, taking_part)
        SELECT experiment_id, array_agg(DISTINCT user_key), TG_TABLE_NAME = 'overrides'
        FROM gone GROUP BY experiment_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO touched (experiment_id, user_keys, taking_part)
        SELECT experiment_id, array_agg(DISTINCT user_key), TG_TABLE_NAME = 'overrides'
        FROM came GROUP BY experiment_id;
    END IF;
    RETURN NULL;
END $$;
"""

_TRIGGERS = """
CREATE TRIGGER note_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER note_update AFTER UPDATE ON {table} REFERENCING OLD TABLE AS gone NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
CREATE TRIGGER note_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION {function}();
"""
TRIGGERS = (
    _TRIGGERS.format(table="assignments", function="note_assignments")
    + _TRIGGERS.format(table="conversions", function="note_people")
    + _TRIGGERS.format(table="overrides", function="note_people")
)

# Everything so far, in portions. The triggers hold writers off until this commits.
BEFORE = """
INSERT INTO touched (experiment_id, user_keys, taking_part, variant, allocation, conflicting, participants)
SELECT experiment_id, array_agg(user_key), true, variant, allocation, conflicting, count(exposed_time)
FROM assignments GROUP BY experiment_id, variant, allocation, conflicting, user_key / 5000;
"""


def upgrade() -> None:
    """Create the tables, note everything so far as touched."""
    for statements in (TOUCHED, FOLDED, IDENTITIES, CONVERSIONS_INDEX, FUNCTIONS, TRIGGERS, BEFORE):
        op.execute(statements)


def downgrade() -> None:
    """Drop what was folded; nothing is lost by that."""
    for table in ("assignments", "conversions", "overrides"):
        for name in ("note_insert", "note_update", "note_delete"):
            op.execute(f"DROP TRIGGER {name} ON {table}")
    op.execute(
        "DROP TRIGGER forget_identities ON users;"
        "DROP FUNCTION note_assignments(), note_people(), forget_identities();"
        "CREATE INDEX conversions_experiment_id_metric_idx"
        "    ON conversions (experiment_id, metric, user_key) INCLUDE (conversion_time, value);"
        "DROP INDEX conversions_experiment_id_user_key_idx;"
        "DROP TABLE folded_sums, folded_people, folded_participants, folds, fold_states, touched,"
        "    event_identities"
    )
