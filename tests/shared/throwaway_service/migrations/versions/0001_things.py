"""The table of things."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table("things", sa.Column("name", sa.Text, primary_key=True))
    op.execute("""
        CREATE TABLE audit_entries (
            entry_id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            entry_time timestamptz NOT NULL DEFAULT clock_timestamp(),
            actor text NOT NULL, action text NOT NULL, subject text NOT NULL, details jsonb NOT NULL
        )
    """)
