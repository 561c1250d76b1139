import pytest

from fluxpool_autoscaler import BatchPolicy, Bounds, Mode, Policy, Targets


@pytest.mark.parametrize(
    ("minimum", "maximum", "message"),
    [(0, 4, "the minimum must be at least 1, not 0"), (3, 2, "the maximum 2 is below the minimum 3")],
)
def test_bounds_that_hold_no_number_are_refused(minimum: int, maximum: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Bounds(minimum, maximum)


@pytest.mark.parametrize("target", [0, -1, float("nan")])
def test_targets_that_no_load_meets_are_refused(target: float) -> None:
    with pytest.raises(ValueError, match="a target must be above 0"):
        Targets(queue_depth_per_replica=target)
    with pytest.raises(ValueError, match="a target must be above 0"):
        Targets(queue_depth_per_replica=1, gpu_utilization_ratio=target)


def test_the_batch_size_needs_a_maximum() -> None:
    with pytest.raises(ValueError, match="the batch size needs a maximum"):
        BatchPolicy(Bounds(1, None))


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.HOLD, Mode.RECOMMEND])
def test_the_autoscaler_needs_a_maximum_of_replicas(mode: Mode) -> None:
    with pytest.raises(ValueError, match=f"mode {mode} needs a maximum"):
        Policy(Bounds(1, None), Targets(1), BatchPolicy(Bounds(1, 1)), mode)


def test_bounds_without_a_maximum_only_raise() -> None:
    assert (Bounds(2, None).clamp(1), Bounds(2, None).clamp(900)) == (2, 900)
