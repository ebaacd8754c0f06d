"""What `python -m services.<name>` does before a service serves."""

import os
import subprocess
import sys
from pathlib import Path

from tests.shared.conftest import KEY

# Serves nothing, but tells how the process was prepared.
TELL = """
import dataclasses, gc, sys
from services.funnels.__main__ import PROGRAM
from shared.running import run
run(dataclasses.replace(PROGRAM, serve=lambda _: print(sys.getswitchinterval(), gc.get_freeze_count())))
"""


def test_threads_take_turns_quickly_and_the_collector_passes_by_what_stays(public_key_file: Path) -> None:
    settings = {
        "FUNNELS_DATABASE_URL": "postgresql://db/brain",
        "FUNNELS_TOKEN_PUBLIC_KEY_FILE": str(public_key_file),
        "FUNNELS_ENCRYPTION_KEYS": f"1:{KEY}",
        "FUNNELS_BLIND_INDEX_KEY": KEY,
        "FUNNELS_EVENTS_ADDRESS": "127.0.0.1:50051",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    told = subprocess.check_output([sys.executable, "-c", TELL], env=os.environ | settings, text=True)
    switch_seconds, frozen = told.split()
    assert float(switch_seconds) == 0.001
    assert int(frozen) > 50_000
