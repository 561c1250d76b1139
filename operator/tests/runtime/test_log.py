"""One line per fact."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from fluxpool_operator import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), {name: logging.getLogger(name).level for name in log.QUIET})
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    for name, level in before[2].items():
        logging.getLogger(name).setLevel(level)


def test_json_has_the_facts_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "INFO")
    logging.getLogger("fluxpool_operator.x").info("replicas %d -> %d", 1, 2, extra={"pool": "art/demo", "replicas": 2})
    line = json.loads(capsys.readouterr().err)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "fluxpool_operator.x",
        "message": "replicas 1 -> 2",
        "pool": "art/demo",
        "replicas": 2,
    }


def test_json_keeps_a_traceback_within_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "INFO")
    try:
        1 / 0  # noqa: B018 - for its error
    except ZeroDivisionError:
        logging.getLogger("x").exception("a bug")
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert "ZeroDivisionError" in json.loads(captured)["error"]


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", "INFO")
    logging.getLogger("x").warning("slow", extra={"pool": "art/demo"})
    assert capsys.readouterr().err.endswith(" WARNING slow pool=art/demo\n")
    logging.getLogger("x").error("a bug", exc_info=sys.exc_info())
    logging.getLogger("x").debug("not said")
    assert "not said" not in capsys.readouterr().err


def test_kopf_speaks_of_problems_only_and_without_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", "INFO")
    logger = logging.getLogger("kopf._core.reactor.running")
    logger.info("starting")
    try:
        1 / 0  # noqa: B018 - for its error
    except ZeroDivisionError:
        logger.exception("a watch has failed")
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert captured.endswith("a watch has failed\n")


def test_at_debug_level_kopf_is_still_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("text", "DEBUG")
    logging.getLogger("kopf.x").debug("every event")
    logging.getLogger("fluxpool_operator").debug("ours")
    assert "every event" not in capsys.readouterr().err
