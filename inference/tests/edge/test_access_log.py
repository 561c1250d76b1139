"""The line that the log has for each request."""

from collections.abc import Callable
from typing import Any

import pytest
from edge_client import Client

from fluxpool_inference.engine import Rejected, RejectReason

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def access_log(caplog: pytest.LogCaptureFixture) -> Lines:
    """Reads the fields of each line so far."""
    caplog.set_level("INFO", "fluxpool.access")
    return lambda: [record.__dict__["fields"] for record in caplog.records if record.name == "fluxpool.access"]


async def test_the_log_tells_true_cfg_and_no_prompt(client: Client, access_log: Lines) -> None:
    await client.generate()
    await client.generate(negative_prompt="a secret", true_cfg_scale=2)
    lines = access_log()
    assert [line.get("true_cfg_scale") for line in lines] == [None, 2.0]
    assert "secret" not in str(lines)


async def test_the_log_flags_a_request_whose_cost_is_predicted_and_also_one_refused_for_it(
    client: Client, access_log: Lines
) -> None:
    await client.generate(size="64x64")
    await client.generate(size="128x64")
    client.engine.rejection = Rejected(RejectReason.WAIT_TOO_LONG, 3, "the estimated wait is too long")
    await client.generate(size="128x64")
    lines = access_log()
    assert [line["status"] for line in lines] == [200, 200, 429]
    assert [line.get("predicted_cost") for line in lines] == [None, True, True]
