import json
import logging
import subprocess
import sys

import pytest

from fluxpool_inference.log import JsonFormatter, TextFormatter


def record(message: str, *arguments: object, fields: dict[str, object] | None = None) -> logging.LogRecord:
    made = logging.LogRecord("fluxpool.test", logging.WARNING, __file__, 1, message, arguments, None)
    if fields:
        made.fields = fields
    return made


def test_a_json_record_is_one_line_with_its_fields() -> None:
    line = JsonFormatter().format(record("two\nlines of %s", "text", fields={"images": 2, "where": object}))
    assert "\n" not in line
    parsed = json.loads(line)
    assert (parsed["message"], parsed["level"], parsed["logger"]) == ("two\nlines of text", "warning", "fluxpool.test")
    assert parsed["images"] == 2
    assert parsed["time"].endswith("+00:00")


def test_a_text_record_has_its_fields_behind_the_message() -> None:
    line = TextFormatter().format(record("ready", fields={"seconds": 3}))
    assert line.endswith("WARNING fluxpool.test: ready seconds=3")


def test_a_traceback_is_in_both_forms() -> None:
    made = record("failed")
    try:
        int("why")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: invalid literal" in json.loads(JsonFormatter().format(made))["exception"]
    assert "ValueError: invalid literal" in TextFormatter().format(made)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_only_warnings_of_the_http_servers_are_shown_and_all_goes_to_stderr(log_format: str) -> None:
    script = f"""
import logging
from fluxpool_inference import log
log.configure({log_format!r}, "info")
logging.getLogger("uvicorn.error").info("server talk")
logging.getLogger("uvicorn.error").warning("server trouble")
logging.getLogger("fluxpool").info("ours")
logging.getLogger("fluxpool").debug("details")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "server trouble" in lines[0]
    assert "ours" in lines[1]
