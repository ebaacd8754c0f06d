"""What the events service does, and says, before it can serve."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import event

from deploy.postgres import EmbeddedPostgres
from services.events.config import EventsSettings
from services.events.rollups.state import keep_reporting_zone
from shared import migrations
from shared.database import open_engine
from tests import databases
from tests.services.events.conftest import KEY, Service
from tests.waiting import until


def test_it_says_once_what_it_waits_for(
    postgres: EmbeddedPostgres, public_key_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    attempts: list[int] = []
    with (
        databases.clone(postgres, "template1") as name,
        ThreadPoolExecutor(1) as beside,
        ExitStack() as opened,
        caplog.at_level(logging.WARNING, "services.events.rollups.state"),
    ):
        postgres.create_schema(name, "events")
        settings = EventsSettings.model_validate(
            {
                "database_url": postgres.url(name, "events"),
                "token_public_key_file": public_key_file,
                "encryption_keys": f"1:{KEY}",
                "blind_index_key": KEY,
            }
        )
        engine = open_engine(settings, 1, opened)
        event.listen(engine, "connect", lambda *_: attempts.append(1), insert=True)
        waiting = beside.submit(keep_reporting_zone, engine, ZoneInfo("UTC"))
        until(lambda: len(attempts) >= 3 or waiting.done())
        migrations.upgrade(settings.database_url, "events", "services.events")
        waiting.result(20)
    [told] = [record for record in caplog.records if record.message == "waiting for the database"]
    assert vars(told)["reason"] == "DATABASE_NOT_MIGRATED"
    assert "migrat" in vars(told)["cause"]


def test_it_says_without_a_trace_that_the_data_have_another_zone(
    start_service: Callable[..., Service], events_database: str, public_key_file: Path
) -> None:
    start_service(reporting_time_zone=ZoneInfo("Europe/Paris"))
    settings = {
        "EVENTS_DATABASE_URL": events_database,
        "EVENTS_TOKEN_PUBLIC_KEY_FILE": str(public_key_file),
        "EVENTS_ENCRYPTION_KEYS": f"1:{KEY}",
        "EVENTS_BLIND_INDEX_KEY": KEY,
        "EVENTS_ADDRESS": "127.0.0.1:0",
        "EVENTS_METRICS_ADDRESS": "127.0.0.1:0",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    command = [sys.executable, "-m", "services.events"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the days of this database are those of Europe/Paris" in done.stderr
    assert "Traceback" not in done.stderr
