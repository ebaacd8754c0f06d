"""What docs/opentelemetry.md shows is run as it stands there, against a real service."""

import re
import subprocess
import sys
import time
from pathlib import Path

from brain.events.v1 import events_pb2 as pb

from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import running

GUIDE = (Path(__file__).parents[2] / "docs" / "opentelemetry.md").read_text()


def test_the_example_runs_word_for_word(
    events_database: str, token_keys: tuple[bytes, bytes], tmp_path: Path
) -> None:
    (tmp_path / "public.pem").write_bytes(token_keys[1])
    (tmp_path / ".brain").mkdir()
    token = mint_token(token_keys[0], "reader", [Role.INGEST], None, 0)
    (tmp_path / ".brain" / "ingest.token").write_text(token + "\n")
    [settings] = re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)
    [example] = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    now = Clock(time.time_ns() // 1000)

    with running(events_database, now, token_keys[0], tmp_path / "public.pem") as service:
        settings = settings.replace("127.0.0.1:50051", f"127.0.0.1:{service.application.server.port}")
        script = f'{settings}exec "$1" -c "$2"'
        subprocess.run(["sh", "-ec", script, "sh", sys.executable, example], cwd=tmp_path, check=True)
        [event] = service.events.QueryEvents(pb.QueryEventsRequest()).events

    assert (event.event, event.user_id, event.session_id, event.value) == ("order_placed", "ada", "s-1", 12.5)
    assert '"cart": {"items": 3}' in event.properties_json
