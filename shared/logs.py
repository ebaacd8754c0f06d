"""Logs as JSON lines on stderr: a constant message, and its values as fields beside it."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from types import TracebackType

from shared.request_id import current_request_id
from shared.tracing import current_trace_id

# Whatever a record has besides came in through `extra`.
_RECORD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# PostgreSQL's errors tell, behind their first line, the row or the line of a COPY that was refused, and those
# of class 22 a value in quotes in it.
_TELLS_VALUES = frozenset({"psycopg", "sqlalchemy"})
_DATA_EXCEPTION = "22"
_QUOTED = re.compile('".*"?')

_ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

# json.dumps makes a new encoder for each line when it is given a default.
_encode = json.JSONEncoder(default=str).encode


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, its fields, trace.

    Among them are the ids of the request and of the trace that the thread works for.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_ids(),
            **{name: value for name, value in vars(record).items() if name not in _RECORD_FIELDS},
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return _encode(line)

    def formatException(self, ei: _ExceptionInfo) -> str:  # noqa: N802 - as its superclass
        """Return a trace without what people sent."""
        for error in _chain(ei[1]):
            if type(error).__module__.partition(".")[0] in _TELLS_VALUES:
                _forget_values(error)
        return super().formatException(ei)


def _chain(error: BaseException | None) -> list[BaseException]:
    """Return an error and all those that a trace tells before it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and not any(each is one for one in found):
            found.append(each)
            waiting += [each.__cause__, each.__context__, getattr(each, "orig", None)]
    return found


def _forget_values(error: BaseException) -> None:
    first_line, _, _ = str(error.args[0] if error.args else "").partition("\n")
    sqlstate = getattr(getattr(error, "orig", error), "sqlstate", None) or ""
    if sqlstate.startswith(_DATA_EXCEPTION):
        first_line = _QUOTED.sub("…", first_line)
    error.args = (first_line, *error.args[1:])


def _ids() -> dict[str, str]:
    ids = {"request_id": current_request_id.get(), "trace_id": current_trace_id()}
    return {name: value for name, value in ids.items() if value}


def configure(level: str) -> None:
    """Send everything from `level` (DEBUG, INFO, WARNING, ERROR) on to stderr; replaces what was set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # At DEBUG it tells URLs, and those of incoming webhooks are secrets.
    logging.getLogger("urllib3").setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level]))
    # SQLAlchemy's pool, told as ours, would tell of each connection that it lets go.
    logging.getLogger("shared.bounded_connection").setLevel(logging.WARNING)
    # It would tell of every batch while a collector is away; shared.span_export tells once.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
