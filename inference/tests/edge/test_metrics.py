"""/metrics against docs/contract.md: names, types, labels, zeros from the start, and sums that add up after traffic."""

import asyncio
import re
from pathlib import Path

import pytest
from edge_client import IDENTITY, Client, make_client
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

from fluxpool_inference import contract
from fluxpool_inference.engine import DeviceMemory, Pace, Rejected, RejectReason, Stage, Utilization, WorkerState
from fluxpool_inference.metrics import pixel_bucket

PAGE = Path(__file__).parents[3] / "docs" / "contract.md"


def documented() -> dict[str, str]:
    """Name to type of every metric in the page's table of a pod's metrics."""
    section = PAGE.read_text().split("## Metrics of an inference pod")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `fluxpool_")]
    return {name: row[2].strip().split()[0] for row in rows for name in re.findall(r"`(fluxpool_\w+)`", row[1])}


async def families(client: Client) -> dict[str, str]:
    text = (await client.api.get("/metrics")).text
    return {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(text)
    }


async def test_the_metrics_are_those_of_the_contract_with_its_types(client: Client) -> None:
    assert await families(client) == documented()


async def test_every_name_of_the_contract_module_is_exported_and_none_else(client: Client) -> None:
    named = {
        value
        for name, value in vars(contract).items()
        if name.startswith("METRIC_") and not name.startswith("METRIC_LABEL_")
    }
    assert set(await families(client)) == named


async def test_every_series_carries_the_pods_identity_and_no_created_series_exist(client: Client) -> None:
    response = await client.api.get("/metrics")
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            assert sample.labels.items() >= IDENTITY.items(), sample
            assert not sample.name.endswith("_created")


async def test_every_label_value_is_there_at_zero_from_the_start() -> None:
    client = await make_client(batch_size=4, batch_size_max=4)
    samples = await client.samples()

    def values(name: str, *labels: str) -> set[tuple[str, ...]]:
        found = {tuple(dict(keys)[label] for label in labels) for known, keys in samples if known == name}
        assert all(value == 0 for (known, _), value in samples.items() if known == name)
        return found

    capacity = {("queue_full",), ("wait_too_long",), ("deadline",)}
    assert values("fluxpool_rejected_work_seconds_total", "reason") == capacity
    others = {("invalid_request",), ("draining",), ("not_ready",)}
    assert values("fluxpool_rejected_total", "reason") == capacity | others
    stages = {("queue",), ("encode",), ("denoise",), ("decode",), ("respond",)}
    assert values("fluxpool_cancelled_total", "stage") == stages
    outcomes = {("ok",), ("failed",), ("cancelled",)}
    assert values("fluxpool_request_duration_seconds_count", "outcome") == outcomes
    assert values("fluxpool_images_total", "format") == {("png",), ("jpeg",), ("webp",)}
    assert values("fluxpool_prompt_cache_total", "result") == {("hit",), ("miss",)}
    assert values("fluxpool_gpu_memory_bytes", "kind") == {("used",), ("total",)}
    steps = {(bucket, str(rows)) for bucket in ("0.25", "0.5", "1", "2", "4") for rows in (1, 2, 3, 4)}
    assert values("fluxpool_step_duration_seconds_count", "bucket", "rows") == steps
    assert values("fluxpool_step_duration_seconds_sum", "bucket", "rows") == steps
    for name in (
        "fluxpool_requests_waiting",
        "fluxpool_requests_running",
        "fluxpool_queued_work_seconds",
        "fluxpool_running_work_seconds",
        "fluxpool_admitted_work_seconds_total",
        "fluxpool_admitted_images_total",
        "fluxpool_cancelled_work_seconds_total",
        "fluxpool_batch_rows_count",
        "fluxpool_queue_wait_seconds_count",
        "fluxpool_queue_wait_estimate_seconds_count",
        "fluxpool_engine_busy_seconds_total",
        "fluxpool_pace_overruns_total",
        "fluxpool_pace_steps_total",
    ):
        assert values(name) == {()}


async def test_durations_are_told_apart_from_a_tenth_of_a_second_to_ten_minutes(client: Client) -> None:
    text = (await client.api.get("/metrics")).text
    bounds = [float(le) for le in re.findall(r'request_duration_seconds_bucket{.*le="([^"]+)".*outcome="ok"', text)]
    assert (bounds[0], bounds[-2], bounds[-1]) == (0.1, 600.0, float("inf"))


async def test_before_the_model_is_loaded_the_gauges_are_there_and_not_ready(client: Client) -> None:
    loading = await make_client()
    loading.engine.worker_state = client.engine.status().workers[0].state.STARTING
    assert set(await families(loading)) == set(await families(client))
    assert await loading.value("fluxpool_ready") == 0
    assert await client.value("fluxpool_ready") == 1
    assert await loading.value("fluxpool_step_fixed_seconds") == 0


async def test_build_info_says_version_pace_and_device(client: Client) -> None:
    samples = await client.samples()
    ((labels, value),) = [
        (dict(keys), value) for (name, keys), value in samples.items() if name == "fluxpool_build_info"
    ]
    assert value == 1
    assert set(labels) == {"version", "paced", "device"}
    assert (labels["paced"], labels["device"]) == ("false", "cpu")
    paced = await make_client(pace="0.05,0.01")
    assert paced.engine.config.pace == Pace(0.05, 0.01)
    assert any(("paced", "true") in keys for name, keys in await paced.samples() if name == "fluxpool_build_info")


async def test_utilization_has_one_source_and_says_which(client: Client) -> None:
    assert await client.value("fluxpool_gpu_utilization_ratio", source="engine_busy") == 0.25
    assert sum(name == "fluxpool_gpu_utilization_ratio" for name, _ in await client.samples()) == 1
    client.engine.utilization = Utilization("nvml", 0.37)
    assert await client.value("fluxpool_gpu_utilization_ratio", source="nvml") == 0.37
    assert sum(name == "fluxpool_gpu_utilization_ratio" for name, _ in await client.samples()) == 1


async def test_memory_is_told_as_used_and_total(client: Client) -> None:
    client.engine.memory = DeviceMemory(used_bytes=3, total_bytes=8)
    assert await client.value("fluxpool_gpu_memory_bytes", kind="used") == 3
    assert await client.value("fluxpool_gpu_memory_bytes", kind="total") == 8


async def test_admitted_images_end_as_ok_failed_or_cancelled(client: Client) -> None:
    await client.generate(n=3)
    await client.generate(n=2, output_format="webp")
    await client.generate(prompt="fail")
    client.engine.gate.clear()
    leaving = asyncio.create_task(client.generate(n=2))
    await until(lambda: bool(client.engine.tickets))
    assert await client.value("fluxpool_requests_waiting") == 2
    assert await client.value("fluxpool_queued_work_seconds") == 4
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    assert await client.value("fluxpool_requests_waiting") == 0
    assert await client.value("fluxpool_admitted_images_total") == 8
    assert await client.value("fluxpool_admitted_work_seconds_total") == 16
    for outcome, count in {"ok": 5, "failed": 1, "cancelled": 2}.items():
        assert await client.value("fluxpool_request_duration_seconds_count", outcome=outcome) == count
    assert await client.value("fluxpool_cancelled_total", stage="queue") == 2
    assert await client.value("fluxpool_cancelled_work_seconds_total") == 4
    assert await client.value("fluxpool_images_total", format="png") == 3
    assert await client.value("fluxpool_images_total", format="webp") == 2
    assert await client.value("fluxpool_step_duration_seconds_count", bucket="0.25", rows="1") == 12
    assert await client.value("fluxpool_batch_rows_sum") == 12
    assert await client.value("fluxpool_prompt_cache_total", result="miss") == 6
    assert await client.value("fluxpool_queue_wait_seconds_sum") == 1.5
    assert await client.value("fluxpool_queue_wait_estimate_seconds_sum") == 4


async def test_an_image_counts_as_made_even_if_its_client_leaves_before_the_other_one_is(client: Client) -> None:
    client.engine.held_seeds = {11}
    leaving = asyncio.create_task(client.generate(seed=10, n=2))
    await until(lambda: len(client.engine.tickets) == 1)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    for outcome in ("ok", "cancelled"):
        assert await client.value("fluxpool_request_duration_seconds_count", outcome=outcome) == 1
    assert await client.value("fluxpool_images_total", format="png") == 1


async def test_each_worker_is_told_of(client: Client) -> None:
    client.engine.gate.clear()
    making = asyncio.create_task(client.generate(n=2))
    await until(lambda: len(client.engine.tickets) == 2)
    assert await client.value("fluxpool_worker_ready", worker="0") == 1
    assert await client.value("fluxpool_worker_remaining_work_seconds", worker="0") == 4
    client.engine.worker_state, client.engine.worker_deaths = WorkerState.RESTARTING, 3
    assert await client.value("fluxpool_worker_ready", worker="0") == 0
    assert await client.value("fluxpool_worker_deaths_total", worker="0") == 3
    client.engine.gate.set()
    await making


async def test_a_retrys_rejected_work_is_not_offered_again(client: Client) -> None:
    client.engine.rejection = Rejected(RejectReason.WAIT_TOO_LONG, 5, "Full.")
    await client.generate()
    body = {"prompt": "a"}
    await client.api.post("/v1/images/generations", json=body, headers={"x-stainless-retry-count": "1"})
    assert await client.value("fluxpool_rejected_total", reason="wait_too_long") == 2
    assert await client.value("fluxpool_rejected_work_seconds_total", reason="wait_too_long") == 2


async def test_every_reason_and_stage_the_engine_knows_has_a_series(client: Client) -> None:
    metrics = client.core.metrics
    for reason in RejectReason:
        metrics.rejected(reason, 2, 3.0, first_attempt=True)
        assert await client.value("fluxpool_rejected_total", reason=reason) == 1
    for stage in Stage:
        metrics.cancelled(stage, 1.0, 1.0)
        assert await client.value("fluxpool_cancelled_total", stage=stage) == 1
    metrics.prompt_encoded(hit=True)
    metrics.paced_step(overran=True)
    metrics.paced_step(overran=False)
    metrics.worker_exited(0, "killed")
    metrics.start_stage({"load_vae": 1.5})
    assert await client.value("fluxpool_start_stage_seconds", stage="load_vae") == 1.5
    assert await client.value("fluxpool_start_stage_seconds", stage="import") == 0
    assert await client.value("fluxpool_prompt_cache_total", result="hit") == 1
    assert await client.value("fluxpool_pace_overruns_total") == 1
    assert await client.value("fluxpool_pace_steps_total") == 2


@pytest.mark.parametrize(
    ("side", "bucket"), [(64, "0.25"), (512, "0.25"), (528, "0.5"), (1024, "1"), (1040, "2"), (2048, "4")]
)
def test_a_size_falls_into_the_least_megapixel_class_that_holds_it(side: int, bucket: str) -> None:
    assert pixel_bucket(side * side) == bucket
