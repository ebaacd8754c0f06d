"""What was known of people when they were assigned."""

from alembic import op

revision = "0004"
down_revision = "0003"

ATTRIBUTES = """
CREATE TABLE assignment_attributes (
    experiment_id int4 NOT NULL,
    user_key int4 NOT NULL,
    attribute text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (experiment_id, attribute, user_key)
);
"""


def upgrade() -> None:
    """Add the table; nothing stored changes."""
    op.execute(ATTRIBUTES)


def downgrade() -> None:
    """Forget what was known."""
    op.execute("DROP TABLE assignment_attributes")
