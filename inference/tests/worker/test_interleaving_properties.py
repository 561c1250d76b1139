"""Whatever comes when, beside whom, and is cancelled, fails, or is full of NaN: an image that is made is stock's."""

import pytest
from comparison import POISON, Comparison
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from traffic import FAILING, Arrival, arrivals, run

from fluxpool_inference.ipc.messages import Failed, Finished

BATCH_SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=6)
SHARED_MODELS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(comparison: Comparison, traffic: list[Arrival], batch_sizes: list[int]) -> None:
    """Every image ends once, as it must, and equals stock if it is made."""
    bench, recorder, numbers = run(comparison, traffic, batch_sizes)
    for number, arrival in zip(numbers, traffic, strict=True):
        outcome = bench.outcome(number)
        if arrival.request.prompt in {POISON, *FAILING}:
            assert outcome is None or isinstance(outcome, Failed)
        else:
            assert isinstance(outcome, Finished) or (outcome is None and arrival.cancel_after is not None)
    wanted = [(request, latents) for request, latents in recorder.made if request.prompt != POISON]
    if wanted:
        comparison.assert_equal(wanted)


@settings(SHARED_MODELS, max_examples=25)
@given(arrivals(guidance=True), BATCH_SIZES)
def test_traffic_changes_no_image_of_a_model_with_guidance(
    dev: Comparison, traffic: list[Arrival], batch_sizes: list[int]
) -> None:
    check(dev, traffic, batch_sizes)


@settings(SHARED_MODELS, max_examples=10)
@given(arrivals(guidance=False), BATCH_SIZES)
def test_traffic_changes_no_image_of_a_model_without(
    schnell: Comparison, traffic: list[Arrival], batch_sizes: list[int]
) -> None:
    check(schnell, traffic, batch_sizes)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@settings(SHARED_MODELS, max_examples=3000)
@given(arrivals(guidance=True, most=14), BATCH_SIZES)
def test_long_traffic_changes_no_image(dev: Comparison, traffic: list[Arrival], batch_sizes: list[int]) -> None:
    check(dev, traffic, batch_sizes)
