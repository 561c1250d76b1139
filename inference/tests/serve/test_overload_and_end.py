"""A slow server under more than it can do, and its end in the middle of work."""

import asyncio
import signal
from collections import Counter

import httpx
from served import Served
from waiting import until

BODY = {"prompt": "a tree", "size": "64x64", "num_inference_steps": 8, "seed": 1}


async def test_overload_is_answered_with_429_and_a_signal_ends_it_when_all_that_was_admitted_is_answered(
    paced_server: Served,
) -> None:
    async with httpx.AsyncClient(base_url=paced_server.url, timeout=120) as http:
        # ---- more than it can do
        responses = await asyncio.gather(*(http.post("/v1/images/generations", json=BODY) for _ in range(40)))
        counts = Counter(response.status_code for response in responses)
        assert counts.keys() == {200, 429}
        assert counts[429] >= 10
        for refused in (response for response in responses if response.status_code == 429):
            assert 1 <= float(refused.headers["retry-after"]) < 30
            assert refused.json()["error"]["code"] == "wait_too_long"
        assert paced_server.metric("fluxpool_rejected_total", reason="wait_too_long") == counts[429]
        assert paced_server.metric("fluxpool_images_total", format="png") == counts[200]
        work = 8 * 0.08
        refused_work = paced_server.metric("fluxpool_rejected_work_seconds_total", reason="wait_too_long")
        assert counts[429] * work <= refused_work < counts[429] * work * 1.5
        assert paced_server.metric("fluxpool_pace_steps_total") > 0
        paced_server.assert_everything_adds_up()

        # ---- the end
        admitted = paced_server.metric("fluxpool_admitted_images_total")
        last = [asyncio.create_task(http.post("/v1/images/generations", json=BODY)) for _ in range(3)]
        await until(lambda: paced_server.metric("fluxpool_admitted_images_total") == admitted + 3)
        paced_server.process.signal(signal.SIGTERM)
        await asyncio.to_thread(paced_server.process.wait_for, "draining")
        assert (await http.get("/readyz")).status_code == 503
        assert [response.status_code for response in await asyncio.gather(*last)] == [200] * 3
    assert await asyncio.to_thread(paced_server.process.wait) == 0
    assert paced_server.process.records("drained")
    paced_server.assert_every_line_of_the_log_is_json()
