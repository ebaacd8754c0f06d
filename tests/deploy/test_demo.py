import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from brain.events.v1.events_pb2 import GetTopEventsRequest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from deploy import demo
from tests.brain_client.memory_events import Store, serve


def test_a_failed_import_is_told_in_a_line(scratch_directory: Path) -> None:
    served = serve(Store())
    served.servicer.calls_allowed = 0
    environment = {
        **os.environ,
        "BRAIN_ADDRESS": served.address,
        "BRAIN_EXPERIMENTS_ADDRESS": served.address,
        "BRAIN_FORECASTING_ADDRESS": served.address,
        "BRAIN_FUNNELS_ADDRESS": served.address,
        "BRAIN_DASHBOARD_URL": "http://127.0.0.1/admin/analytics",
        "BRAIN_ALERTS_ADDRESS": served.address,
        "BRAIN_TOKEN": "t",
        "BRAIN_SHIFT_FILE": str(scratch_directory / "demo_shift.json"),
    }
    command = [sys.executable, "-m", "deploy.demo"]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    served.kill()
    assert (run.returncode, run.stderr) == (1, "The demo failed. PERMISSION_DENIED: no longer\n")


def test_a_part_that_is_late_does_not_end_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    with grpc.insecure_channel("unix:/nowhere") as channel:
        stub = EventsServiceStub(channel)
        request = GetTopEventsRequest()
        demo.tell("The top", lambda: stub.GetTopEvents(request, timeout=0.1, wait_for_ready=True))
        assert capsys.readouterr().out.startswith("The top took too long")
        with pytest.raises(grpc.RpcError):
            demo.tell("The top", lambda: stub.GetTopEvents(request))
