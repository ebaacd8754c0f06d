"""The audit log takes entries and nothing else, from the role that owns it too."""

from alembic import op

revision = "0002"
down_revision = "0001"

# A trigger, for whoever owns a table can grant themselves whatever was revoked. ALWAYS: also while
# session_replication_role says replica.
APPEND_ONLY = """
CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_entries is append-only: % is refused', TG_OP
        USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();
ALTER TABLE audit_entries ENABLE ALWAYS TRIGGER audit_entries_append_only;
"""


def upgrade() -> None:
    """Refuse changes; entries stay as they are."""
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    """Allow changes again."""
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries; DROP FUNCTION refuse_audit_change()")
