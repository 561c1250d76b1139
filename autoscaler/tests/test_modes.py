from dataclasses import replace

import pytest
from worlds import POLICY, desired, pool, timeline

from fluxpool_autoscaler import BatchPolicy, Bounds, Memory, Mode, Policy, decide

BUSY, IDLE = pool([20, 20]), pool([0, 0])


def in_mode(mode: Mode, window: float = 60) -> Policy:
    return replace(POLICY, mode=mode, scale_down=replace(POLICY.scale_down, window_seconds=window))


def test_hold_keeps_the_number_and_says_what_would_be() -> None:
    decisions, _ = timeline(in_mode(Mode.HOLD), [(0, BUSY), (2, BUSY)])
    assert desired(decisions) == [2, 2]
    assert decisions[0].replicas.recommended == 5
    assert not decisions[0].replicas.changed


def test_hold_still_applies_the_bounds() -> None:
    policy = replace(POLICY, mode=Mode.HOLD, bounds=Bounds(3, 4))
    assert desired(timeline(policy, [(0, pool([8, 8]))])[0]) == [3]


@pytest.mark.parametrize("mode", [Mode.RECOMMEND, Mode.MANUAL])
def test_the_recommendation_is_bounded_and_stabilised_but_not_paced(mode: Mode) -> None:
    policy = replace(POLICY, mode=mode, bounds=Bounds(1, 40))
    decisions, _ = timeline(policy, [(0, pool([400])), (2, pool([0]))])
    assert [decision.replicas.recommended for decision in decisions] == [40, 40]
    assert desired(decisions) == [40, 40]
    assert not any(decision.replicas.changed for decision in decisions)


def test_a_recommendation_outlives_an_outage_and_follows_the_bounds() -> None:
    policy = replace(POLICY, mode=Mode.RECOMMEND)
    _, memory = timeline(policy, [(0, BUSY)])
    decision, memory = decide(pool([None, None]), memory, policy, 2)
    assert decision.replicas.recommended == 5
    decision, _ = decide(pool([None, None]), memory, replace(policy, bounds=Bounds(1, 3)), 4)
    assert decision.replicas.recommended == 3


def test_before_any_data_there_is_no_recommendation_and_the_present_number_is_exported() -> None:
    policy = replace(POLICY, mode=Mode.MANUAL, bounds=Bounds(1, None))
    decision, _ = decide(pool([None, None]), Memory(), policy, 0)
    assert (decision.replicas.recommended, decision.replicas.desired) == (None, 2)


def test_manual_needs_no_maximum() -> None:
    policy = replace(POLICY, mode=Mode.MANUAL, bounds=Bounds(1, None))
    assert decide(pool([400] * 4), Memory(), policy, 0)[0].replicas.desired == 200


def test_what_others_set_is_the_base_while_they_own_the_number() -> None:
    policy = in_mode(Mode.RECOMMEND, window=0)
    decisions, _ = timeline(policy, [(0, pool([8] * 2)), (2, pool([8] * 6))])
    assert [decision.replicas.previous for decision in decisions] == [2, 6]


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.RECOMMEND, Mode.MANUAL])
def test_a_change_of_mode_never_moves_pods_by_itself(mode: Mode) -> None:
    """However long the pool was idle before: the window begins with the mode."""
    other, auto = in_mode(mode), in_mode(Mode.AUTO)
    _, memory = timeline(other, [(now, IDLE) for now in range(0, 600, 2)])
    decisions, _ = timeline(auto, [(now, IDLE) for now in range(600, 662, 2)], memory)
    assert set(desired(decisions[:-1])) == {2}
    assert desired(decisions)[-1] == 1


def test_coming_back_to_auto_starts_from_the_number_that_others_set() -> None:
    _, memory = timeline(POLICY, [(0, pool([20, 20]))])
    _, memory = timeline(replace(POLICY, mode=Mode.MANUAL), [(2, pool([8] * 3))], memory)
    decisions, _ = timeline(POLICY, [(4, pool([8] * 3))], memory)
    assert desired(decisions) == [3]


@pytest.mark.parametrize("mode", [Mode.HOLD, Mode.RECOMMEND, Mode.MANUAL])
def test_the_batch_size_has_a_mode_of_its_own(mode: Mode) -> None:
    policy = replace(POLICY, batching=BatchPolicy(Bounds(1, 8), mode))
    (decision,), _ = timeline(policy, [(0, pool([20, 20], waiting=12, batch_size=4))])
    assert decision.replicas.desired == 5
    assert decision.batch_size.recommended == 8
    assert decision.batch_size.desired == (4 if mode is Mode.HOLD else 8)
    assert not decision.batch_size.changed
