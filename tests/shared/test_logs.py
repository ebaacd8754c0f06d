import json
import logging
import subprocess
import sys

from shared.logs import JsonLines

PROGRAM = """
import logging
from shared import logs
logs.configure("INFO")
logging.getLogger("a").debug("hidden")
logging.getLogger("a").info("line\\nbreak", extra={"rows": 3, "who": {"x"}})
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("a").exception("failed")
"""


def test_every_record_from_the_level_on_is_one_line_of_json() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    assert (first["level"], first["message"], first["rows"], first["who"]) == (
        "INFO",
        "line\nbreak",
        3,
        "{'x'}",
    )
    assert first["time"].endswith("+00:00")
    assert "ZeroDivisionError" in second["trace"]
    assert done.stdout == ""


def test_a_record_brings_only_its_own_fields() -> None:
    record = logging.makeLogRecord({"name": "a", "msg": "hello", "levelname": "INFO"})
    assert set(json.loads(JsonLines().format(record))) == {"time", "level", "logger", "message"}
