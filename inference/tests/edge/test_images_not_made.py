"""Good requests without images: the engine refuses them, an image fails, or their client leaves."""

import asyncio

import pytest
from edge_client import Client, error
from waiting import until

from fluxpool_inference.engine import Rejected, RejectReason, TooLarge, TooLong

# ---- refused by the engine


async def test_a_size_that_memory_does_not_hold_is_a_400_that_says_which_is_possible(client: Client) -> None:
    client.engine.rejection = TooLarge("must have at most 65536 pixels, and is 2048x2048")
    response = await client.generate()
    assert error(response, 400) == {
        "message": "'size' must have at most 65536 pixels, and is 2048x2048.",
        "type": "invalid_request_error",
        "param": "size",
        "code": "size_too_large",
    }
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1


async def test_a_pair_that_takes_longer_than_a_drain_is_a_400_that_says_what_would_do(client: Client) -> None:
    client.engine.rejection = TooLong("takes 330 s, and at most 270 s are possible: ask for less")
    response = await client.generate(negative_prompt="rain", true_cfg_scale=4)
    assert error(response, 400) == {
        "message": "The request takes 330 s, and at most 270 s are possible: ask for less.",
        "type": "invalid_request_error",
        "param": "negative_prompt",
        "code": "request_too_long",
    }
    assert await client.value("fluxpool_rejected_total", reason="invalid_request") == 1


@pytest.mark.parametrize("reason", [RejectReason.QUEUE_FULL, RejectReason.WAIT_TOO_LONG, RejectReason.DEADLINE])
async def test_a_rejection_for_capacity_is_a_429_with_retry_after(client: Client, reason: RejectReason) -> None:
    client.engine.rejection = Rejected(reason, 12.2, "the wait would be 40 s")
    response = await client.generate(n=2)
    found = error(response, 429)
    assert found["message"] == "The wait would be 40 s."
    assert (found["code"], found["type"]) == (reason, "rate_limit_error")
    assert response.headers["retry-after"] == "13"
    assert await client.value("fluxpool_rejected_total", reason=reason) == 1
    assert await client.value("fluxpool_rejected_work_seconds_total", reason=reason) == 4


@pytest.mark.parametrize("reason", [RejectReason.DRAINING, RejectReason.NOT_READY])
async def test_a_rejection_for_the_servers_state_is_a_503_with_retry_after(
    client: Client, reason: RejectReason
) -> None:
    client.engine.rejection = Rejected(reason, 0.0, "Try another.")
    response = await client.generate()
    assert error(response, 503)["code"] == reason
    assert response.headers["retry-after"] == "1"


# ---- failed or given up


async def test_one_failed_image_fails_its_request_and_frees_the_others(client: Client) -> None:
    found = error(await client.generate(prompt="fail", n=3), 500)
    assert found["code"] == "generation_failed"
    assert "the latents are not finite" in str(found["message"])
    assert client.engine.tickets == []


async def test_one_bad_image_of_several_fails_the_request_and_gives_up_the_rest(client: Client) -> None:
    client.engine.gate.clear()
    client.engine.failing_seeds = {11}
    task = asyncio.create_task(client.generate(seed=10, n=3))
    await until(lambda: len(client.engine.tickets) == 3)
    client.engine.gate.set()
    assert "the latents are not finite" in str(error(await task, 500)["message"])
    assert client.engine.tickets == []
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="failed") == 1
    assert await client.value("fluxpool_images_total", format="png") == 0
    assert (await client.generate(seed=12)).status_code == 200


async def test_an_image_that_cannot_be_encoded_is_a_500_and_is_given_up(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def encode(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(client.edge.encoder, "encode", encode)
    assert error(await client.generate(n=2), 500)["code"] == "internal_error"
    assert client.engine.tickets == []
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="ok") == 0


async def test_a_client_that_leaves_while_its_image_is_encoded_is_not_counted_as_answered(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoding = asyncio.Event()

    async def encode(*_: object) -> bytes:
        encoding.set()
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(client.edge.encoder, "encode", encode)
    leaving = asyncio.create_task(client.generate())
    await encoding.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert client.engine.tickets == []
    assert await client.value("fluxpool_cancelled_total", stage="respond") == 1
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="cancelled") == 1
    assert await client.value("fluxpool_request_duration_seconds_count", outcome="ok") == 0
