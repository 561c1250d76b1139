"""What a pool steers to where its user gave no queue depth: what its pods carry, by their own curve and bound."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from worlds import POLICY, desired, pod, sample, timeline

from fluxpool_autoscaler import BatchPolicy, Bounds, Memory, Mode, Observation, PodSample, Targets, decide

UNTOLD = replace(POLICY, targets=Targets(), max_queue_seconds=30)
COMPUTE_BOUND = (0.002, 0.198)
"""FLUX.1-dev at 1024 x 1024: a second row takes as long as the first."""
BATCHING = (0.3, 0.1)
"""Small images: the knee is at 9 rows."""


def world(depths: Sequence[float], curve: tuple[float, float] | None, work: float | None = None) -> Observation:
    fixed, per_row = curve or (None, None)
    seen = [replace(sample(depth), step_fixed_seconds=fixed, step_per_row_seconds=per_row) for depth in depths]
    pods = tuple(pod(f"pod-{n}", one) for n, one in enumerate(seen))
    return Observation(len(pods), pods=pods, scrape_interval_seconds=2, mean_request_work_seconds=work)


def target(observation: Observation, policy: object = UNTOLD) -> float | None:
    decision, _ = decide(observation, Memory(), policy, 0)  # type: ignore[arg-type]
    return next(p.target for p in decision.replicas.proposals if p.rule == "queue_depth")


@pytest.mark.parametrize(
    ("curve", "work", "expected"),
    [
        (COMPUTE_BOUND, None, 2),  # one that runs and one that waits
        (COMPUTE_BOUND, 5.6, 2),  # it would admit five
        (COMPUTE_BOUND, 40.0, 0.75),  # it works off three quarters of one in the 30 s that it lets a request wait
        (BATCHING, 2.0, 8),  # batching.max, which is before the knee
        ((0.3, 1.0), None, 3),  # 0.3 / (4 (0.3 + 3)) is the first gain below 3 %
        ((0.3, 0.1), 20.0, 30 * (8 * 0.4 / 1.1) / 20),  # as much as 8 rows work off
        (None, 5.6, 8),  # not known yet: batching.max
        ((0.0, 0.0), 5.6, 8),  # no curve at all
    ],
)
def test_a_pod_carries_what_its_speed_gains_from_and_its_queue_lets_in(
    curve: tuple[float, float] | None, work: float | None, expected: float
) -> None:
    assert target(world([1], curve, work)) == pytest.approx(expected)


def test_the_weakest_pod_counts() -> None:
    slow = replace(sample(1), step_fixed_seconds=COMPUTE_BOUND[0], step_per_row_seconds=COMPUTE_BOUND[1])
    observation = Observation(2, pods=(pod("fast", sample(1)), pod("slow", slow)), scrape_interval_seconds=2)
    assert target(observation) == 2


@pytest.mark.parametrize(("mode", "expected"), [(Mode.AUTO, 8), (Mode.MANUAL, 3), (Mode.RECOMMEND, 3), (Mode.HOLD, 3)])
def test_a_batch_size_that_stays_bounds_what_a_pod_carries(mode: Mode, expected: float) -> None:
    running: PodSample = replace(sample(1), batch_size_limit=3)
    observation = Observation(1, pods=(pod("one", running),), scrape_interval_seconds=2)
    policy = replace(UNTOLD, batching=BatchPolicy(Bounds(1, 8), mode))
    assert target(observation, policy) == expected


def test_the_users_own_target_rules() -> None:
    assert target(world([1], COMPUTE_BOUND, 40), replace(UNTOLD, targets=Targets(6))) == 6


def test_a_compute_bound_pool_whose_pods_refuse_grows() -> None:
    """A pod that takes 5.58 s per image and lets none wait over 30 s admits six and answers 429 to the next."""
    full = world([6], COMPUTE_BOUND, 5.58)
    decisions, _ = timeline(UNTOLD, [(0, full), (2, full)])
    assert desired(decisions)[-1] == 3
    assert "queue depth per replica is 6, target 2" in decisions[0].replicas.reason
    blind, _ = timeline(replace(UNTOLD, targets=Targets(8)), [(0, full), (2, full)])
    assert desired(blind)[-1] == 1  # as batching.max would have had it


def test_the_last_known_work_of_a_request_counts_while_none_comes() -> None:
    decisions, _ = timeline(UNTOLD, [(0, world([1], COMPUTE_BOUND, 40)), (2, world([1], COMPUTE_BOUND))])
    assert [next(iter(d.replicas.proposals)).target for d in decisions] == [0.75, 0.75]
