"""A streaming standby of an embedded PostgreSQL: what questions may be asked instead of the primary."""

import os
import shutil
from pathlib import Path

from deploy import children, data_directories, postgres
from deploy.data_directories import SUPERUSER, beside
from deploy.postgres import NOT_DURABLE, EmbeddedPostgres
from tests.waiting import until


def start(primary: EmbeddedPostgres, data_directory: Path) -> EmbeddedPostgres:
    """Copy a server that listens on a Unix socket, and start the copy as its standby."""
    host = str(primary.data_directory)
    program = [str(data_directories.binaries() / "pg_basebackup"), "--host", host, "--username", SUPERUSER]
    program += ["--pgdata", str(data_directory), "--checkpoint=fast", "--write-recovery-conf", "--no-sync"]
    log = beside(data_directory, ".backup.log")
    account = children.unprivileged_account()
    data_directory.mkdir(mode=0o700)
    if account is not None:
        os.chown(data_directory, account.uid, account.gid)
    reach = [primary.data_directory, data_directory]
    backup = children.start(
        program, log=log, environment=data_directories.ENVIRONMENT, account=account, reach=reach
    )
    assert backup.wait() == 0, log.read_text()
    shutil.copy(beside(primary.data_directory, ".password"), beside(data_directory, ".password"))
    # What a statement reads is taken away at once where the primary wants it gone.
    return postgres.start(data_directory, settings={**NOT_DURABLE, "max_standby_streaming_delay": "0"})


def pause(standby: EmbeddedPostgres) -> None:
    """Let the standby lag behind until `catch_up`."""
    with standby.connect() as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
    until(lambda: _one(standby, "SELECT pg_get_wal_replay_pause_state()") == "paused")


def catch_up(standby: EmbeddedPostgres, primary: EmbeddedPostgres) -> None:
    """Wait until the standby has replayed all that the primary has written by now."""
    with standby.connect() as connection:
        connection.execute("SELECT pg_wal_replay_resume()")
    written = _one(primary, "SELECT pg_current_wal_lsn()::text")
    replayed = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
    until(lambda: _one(standby, replayed) is True)


def _one(server: EmbeddedPostgres, statement: str) -> object:
    with server.connect() as connection:
        [value] = connection.execute(statement.encode()).fetchone() or [None]
    return value
