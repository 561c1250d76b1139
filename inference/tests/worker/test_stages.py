import logging

import pytest
from bench import VirtualTime

from fluxpool_inference.contract import START_STAGES
from fluxpool_inference.worker.stages import Stages


@pytest.fixture
def stages(time: VirtualTime) -> Stages:
    return Stages(time.clock().now)


def test_each_stage_counts_what_was_done_in_it_and_others_are_0(stages: Stages, time: VirtualTime) -> None:
    for seconds in (2.0, 3.0):
        with stages.measure("load_vae"):
            time.seconds += seconds
        time.seconds += 100
    assert stages.seconds == dict.fromkeys(START_STAGES, 0.0) | {"load_vae": 5.0}


def test_loading_is_told_in_percent_of_all_bytes(stages: Stages, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stages.total_bytes = 8_000_000
    stages.loaded("vae", 2_000_000)
    for size_bytes in (300_000, 400_000, 700_000, 4_400_000, 6_000_000):
        stages.loading("transformer", size_bytes)
    stages.loaded("transformer", 6_000_000)
    assert [record.fields for record in caplog.records] == [  # type: ignore[attr-defined]
        {"part": "vae", "megabytes": 2, "percent": 25},
        {"part": "transformer", "megabytes": 0, "percent": 30},
        {"part": "transformer", "megabytes": 4, "percent": 80},
        {"part": "transformer", "megabytes": 6, "percent": 100},
        {"part": "transformer", "megabytes": 6, "percent": 100},
    ]
