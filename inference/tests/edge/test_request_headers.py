"""What a client says in headers: how long it waits, how urgent it is, whether it asks again, and its own id."""

import asyncio
import re

import pytest
from edge_client import URL, Client, error
from waiting import until


@pytest.mark.parametrize(
    ("headers", "deadline", "first_attempt"),
    [
        ({}, None, True),
        ({"x-stainless-read-timeout": "600.0", "x-stainless-retry-count": "0"}, 600, True),
        ({"x-stainless-read-timeout": "5", "x-stainless-retry-count": "1"}, 5, False),
        ({"x-stainless-timeout": "600"}, 600, True),
        ({"x-stainless-retry-count": ""}, None, True),
        ({"x-stainless-retry-count": "many"}, None, False),
        ({"x-stainless-read-timeout": "None"}, None, True),
        ({"x-stainless-read-timeout": "inf"}, None, True),
        ({"x-stainless-read-timeout": "600", "x-request-timeout": "2.5"}, 2.5, True),
    ],
)
async def test_deadline_and_retry_are_read_from_the_headers(
    client: Client, headers: dict[str, str], deadline: float | None, first_attempt: bool
) -> None:
    response = await client.api.post(URL, json={"prompt": "a"}, headers=headers)
    assert response.status_code == 200
    assert client.engine.admitted_with == {"first_attempt": first_attempt, "deadline_seconds": deadline}


@pytest.mark.parametrize("value", ["soon", "0", "-1", "nan", "86401", ""])
async def test_a_request_timeout_that_is_no_time_is_a_400(client: Client, value: str) -> None:
    response = await client.api.post(URL, json={"prompt": "a"}, headers={"x-request-timeout": value})
    assert error(response, 400)["param"] == "x-request-timeout"


@pytest.mark.parametrize(("value", "priority"), [(None, "normal"), ("low", "low"), ("HIGH", "high")])
async def test_the_priority_is_read_from_its_header(client: Client, value: str | None, priority: str) -> None:
    client.engine.gate.clear()
    headers = {} if value is None else {"x-fluxpool-priority": value}
    making = asyncio.create_task(client.api.post(URL, json={"prompt": "a", "n": 2}, headers=headers))
    await until(lambda: len(client.engine.tickets) == 2)
    assert [ticket.request.priority for ticket in client.engine.tickets] == [priority, priority]
    client.engine.gate.set()
    assert (await making).status_code == 200


@pytest.mark.parametrize("value", ["urgent", "", "1"])
async def test_a_priority_that_there_is_not_is_a_400_that_names_those_that_there_are(
    client: Client, value: str
) -> None:
    response = await client.api.post(URL, json={"prompt": "a"}, headers={"x-fluxpool-priority": value})
    found = error(response, 400)
    assert found["param"] == "x-fluxpool-priority"
    assert "high, normal, low" in str(found["message"])


async def test_the_clients_request_id_comes_back_unless_it_is_strange(client: Client) -> None:
    async def request_id(given: str | None) -> str:
        headers = {"x-request-id": given} if given is not None else {}
        return (await client.api.get("/healthz", headers=headers)).headers["x-request-id"]

    assert await request_id("trace-1.2:3_4") == "trace-1.2:3_4"
    for strange in (None, "", "a b", "x" * 129, "a\tb"):
        assert re.fullmatch(r"req_[0-9a-f]{32}", await request_id(strange))
    assert await request_id(None) != await request_id(None)
