"""Logs: one line per fact, as JSON for machines or as text for people, on standard error.

Facts are passed by `extra={"pool": "ns/name", ...}`; every extra becomes a field of its own. kopf, aiohttp and httpx
speak only from WARNING on: what they would say about each event and each request is in the metrics.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

QUIET = ("kopf", "aiohttp", "httpx", "httpcore", "asyncio")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# What kopf attaches to its own records for its own formatters.
_KOPF = frozenset({"k8s_skip", "k8s_ref", "settings", "event_queue_loop", "event_queue"})


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in _KOPF}


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `time`, `level`, `logger`, `message`, the facts, and `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`time level message key=value …`; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        facts = "".join(f" {name}={value}" for name, value in _facts(record).items())
        line = f"{_timestamp(record)} {record.levelname:<7} {record.getMessage()}{facts}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _drop_traceback(record: logging.LogRecord) -> bool:
    """For kopf's records: it logs an error at each level it passes; ours, at the end of the process, says it once."""
    record.exc_info = None
    return True


def configure(log_format: Literal["json", "text"], level: str) -> None:
    """Make the root logger write `log_format` to standard error, from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(handlers=[handler], level=level, force=True)
    handler.addFilter(lambda record: not record.name.startswith("kopf") or _drop_traceback(record))
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    logging.getLogger("kubernetes").setLevel(logging.ERROR)  # it warns of what it then raises
