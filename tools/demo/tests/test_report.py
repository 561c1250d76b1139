import json
from dataclasses import replace
from pathlib import Path

import pytest
from recordings import BATCH_UP, REPLICAS_UP, good, request

from fluxpool_demo import record, report

FIELDS_OF_THE_ISSUE = {
    "images_ok",
    "images_failed",
    "rejected_429",
    "seconds_to_ready",
    "seconds_to_first_image",
    "replicas_peak",
    "batch_size_peak",
    "seconds_from_load_step_to_scale_write",
    "scrape_interval_seconds",
    "paced",
    "pace_overruns",
    "throughput",
    "p50_latency_seconds",
    "p95_latency_seconds",
    "decisions",
}


def test_the_report_has_every_promised_field_and_is_json(tmp_path: Path) -> None:
    report.write(good(), tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text())
    assert found.keys() >= FIELDS_OF_THE_ISSUE
    assert {"machine", "versions", "date", "command", "aims"} <= found.keys()


def test_images_failures_and_rejections_are_counted_apart() -> None:
    run = good(requests=(request(31), request(32, rejections=2), request(33, ok=False, rejections=3)))
    found = report.summarize(run)
    assert (found["images_ok"], found["images_failed"], found["rejected_429"]) == (2, 1, 5)


def test_peaks_are_of_ready_replicas_and_of_the_batch_size_that_pods_ran() -> None:
    found = report.summarize(good())
    assert (found["replicas_peak"], found["batch_size_peak"]) == (4, 8)


def test_the_scale_write_is_timed_from_the_last_rise_of_the_load_before_it() -> None:
    # The load rises at 30, 40 and 60; replicas at 63.5.
    assert report.summarize(good())["seconds_from_load_step_to_scale_write"] == 3.5


def test_a_scale_write_before_the_last_rise_is_timed_from_the_rise_it_answers() -> None:
    run = good(decisions=(BATCH_UP, replace(REPLICAS_UP, at=47)))
    assert report.summarize(run)["seconds_from_load_step_to_scale_write"] == 7


def test_without_a_scale_write_there_is_no_time_and_the_aim_is_missed() -> None:
    found = report.summarize(good(decisions=(BATCH_UP,)))
    assert found["seconds_from_load_step_to_scale_write"] is None
    assert [aim["met"] for aim in found["aims"] if "write of replicas" in aim["name"]] == [False]


def test_throughput_runs_from_the_first_request_due_to_the_last_answer() -> None:
    run = good(requests=(request(30, 1), request(35, 5)))
    assert report.summarize(run)["throughput"] == 0.2


def test_latencies_are_of_images_that_came() -> None:
    run = good(requests=(request(30, 1), request(31, 3), request(32, 99, ok=False)))
    found = report.summarize(run)
    assert found["p50_latency_seconds"] == 2
    assert found["p95_latency_seconds"] == pytest.approx(2.9)


def test_a_run_without_images_has_no_latency() -> None:
    found = report.summarize(good(requests=()))
    assert (found["throughput"], found["p50_latency_seconds"]) == (0, None)


def test_decisions_tell_what_changed_and_why_since_the_load_began() -> None:
    found = report.summarize(good())["decisions"]
    assert found[1] == {
        "seconds_since_load": 12,
        "what": "batch size",
        "before": 2,
        "after": 8,
        "reason": "3 requests wait for a row: 8 rows needed",
    }


def test_all_aims_of_a_good_run_are_met() -> None:
    assert all(aim["met"] for aim in report.summarize(good())["aims"])


def test_a_recording_comes_back_from_its_file_as_it_went_in(tmp_path: Path) -> None:
    run = good(requests=(request(31, rejections=1), request(32, ok=False, error="no")))
    run.write(tmp_path / "recording.json")
    assert record.read(tmp_path / "recording.json") == run
