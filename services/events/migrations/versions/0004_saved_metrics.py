"""Points of metrics that callers save; an index of subscriptions' payments; the orders of each hour."""

from alembic import op

revision = "0004"
down_revision = "0003"

# period: 1 hourly, 2 daily, 3 weekly, 4 monthly. Times are when a point's period begins.
SAVED_METRICS = """
CREATE TABLE saved_metrics (
    name text COLLATE "C" NOT NULL,
    period int2 NOT NULL CHECK (period BETWEEN 1 AND 4),
    point_time timestamptz NOT NULL,
    value float8 NOT NULL,
    target float8,
    metadata_json text,
    saved_time timestamptz NOT NULL,
    PRIMARY KEY (name, period, point_time)
);
"""

# Few events are payments of subscriptions; without it every one of a year would be looked at.
PAYMENTS = """
CREATE INDEX events_billing_interval_idx ON events (event_time) WHERE properties ? 'billing_interval';
"""

# The orders of an hour's revenue as packed hashes, current while the revision is that of the hour's events.
ORDERS = """
CREATE TABLE order_hours (
    event_key int4 NOT NULL,
    hour int4 NOT NULL,
    revision int8 NOT NULL,
    orders bytea NOT NULL,
    PRIMARY KEY (event_key, hour)
);
ALTER TABLE order_hours ALTER COLUMN orders SET STORAGE EXTERNAL;
"""


def upgrade() -> None:
    """Create them."""
    for statements in (SAVED_METRICS, PAYMENTS, ORDERS):
        op.execute(statements)


def downgrade() -> None:
    """Drop them; saved points are lost."""
    op.execute("DROP TABLE order_hours")
    op.execute("DROP INDEX events_billing_interval_idx")
    op.execute("DROP TABLE saved_metrics")
