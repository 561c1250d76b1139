"""What holds in every world: bounds, missing data, more load, windows, purity."""

import copy
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from worlds import pod, sample

from fluxpool_autoscaler import (
    BatchPolicy,
    Bounds,
    Memory,
    Mode,
    Observation,
    PodObservation,
    PodSample,
    Policy,
    RatePolicy,
    RateType,
    ScalingRules,
    SelectPolicy,
    Targets,
    decide,
)

MAX = 12
modes = st.sampled_from(Mode)
ratios = st.one_of(st.none(), st.floats(0, 1))
depths = st.integers(0, 40)


@st.composite
def bounds(draw: st.DrawFn, top: int) -> Bounds:
    low = draw(st.integers(1, top))
    return Bounds(low, draw(st.integers(low, top)))


rate_policies = st.builds(RatePolicy, st.sampled_from(RateType), st.integers(1, 200), st.integers(1, 60))
rules = st.builds(
    ScalingRules,
    st.sampled_from([0, 4, 20, 300]),
    st.lists(rate_policies, min_size=1, max_size=2).map(tuple),
    st.sampled_from(SelectPolicy),
)
targets = st.builds(
    Targets, st.integers(1, 16), st.one_of(st.none(), st.floats(0.1, 1)), st.one_of(st.none(), st.floats(0.1, 20))
)
policies = st.builds(
    Policy, bounds(MAX), targets, st.builds(BatchPolicy, bounds(16), modes), modes, scale_up=rules, scale_down=rules
)


@st.composite
def pods(draw: st.DrawFn, name: str) -> PodObservation:
    depth = draw(depths)
    seen = sample(depth, waiting=draw(st.integers(0, depth)), busy=draw(ratios), age=draw(st.sampled_from([0, 1, 99])))
    if draw(st.booleans()):
        seen = replace(seen, process_started_at=draw(st.sampled_from([None, 0.0, float("nan"), 2e9])))
    return pod(name, draw(st.sampled_from([seen, None])), ready=draw(st.booleans()), terminating=draw(st.booleans()))


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Anything goes: more pods than replicas, stale samples, dead processes."""
    count = draw(st.integers(0, 6))
    return Observation(
        replicas=draw(st.integers(0, 20)),
        batch_size=draw(st.one_of(st.none(), st.integers(1, 20))),
        pods=tuple(draw(pods(str(n))) for n in range(count)),
        scrape_interval_seconds=draw(st.sampled_from([None, 2.0])),
        mean_request_work_seconds=draw(st.sampled_from([None, float("nan"), 0.5, 3.0])),
    )


@st.composite
def settled(draw: st.DrawFn, busy: st.SearchStrategy[float | None] = ratios) -> Observation:
    """A pool with as many pods as replicas: ready with a sample, ready without, or starting."""
    kinds = draw(st.lists(st.sampled_from(["ready", "ready", "missing", "starting"]), min_size=1, max_size=8))
    world = []
    for n, kind in enumerate(kinds):
        depth = draw(depths)
        seen = sample(depth, waiting=draw(st.integers(0, depth)), busy=draw(busy)) if kind == "ready" else None
        world.append(pod(str(n), seen, ready=kind != "starting"))
    return Observation(len(world), pods=tuple(world), scrape_interval_seconds=2.0, mean_request_work_seconds=2.0)


@given(policies, st.lists(observations(), min_size=1, max_size=6), st.lists(st.floats(0, 200), min_size=6, max_size=6))
def test_the_numbers_are_always_within_their_bounds(
    policy: Policy, seen: list[Observation], steps: list[float]
) -> None:
    memory, now = Memory(), 0.0
    for observation, step in zip(seen, steps, strict=False):
        now += step
        decision, memory = decide(observation, memory, policy, now)
        for verdict, limits in ((decision.replicas, policy.bounds), (decision.batch_size, policy.batching.bounds)):
            assert limits.clamp(verdict.desired) == verdict.desired
            assert verdict.recommended is None or limits.clamp(verdict.recommended) == verdict.recommended
            assert verdict.reason


@given(policies, st.lists(observations(), min_size=1, max_size=6))
def test_equal_arguments_give_equal_decisions_and_are_left_alone(policy: Policy, seen: list[Observation]) -> None:
    memory = Memory()
    for now, observation in enumerate(seen):
        arguments = (observation, memory, policy, float(now))
        before = copy.deepcopy(arguments)
        first, second = decide(*arguments), decide(*arguments)
        assert repr(first) == repr(second)  # NaN is not equal to itself
        assert repr(arguments) == repr(before)
        memory = first[1]


auto = st.builds(Policy, bounds(MAX), targets, st.builds(BatchPolicy, bounds(16)), scale_up=rules, scale_down=rules)


@given(auto, settled(), st.floats(0, 400))
def test_no_data_at_all_never_lowers(policy: Policy, seen: Observation, later: float) -> None:
    first, memory = decide(seen, Memory(), policy, 0)
    lost = replace(seen, pods=tuple(replace(one, sample=None) for one in seen.pods))
    second, _ = decide(lost, memory, policy, later)
    assert second.replicas.desired >= first.replicas.desired
    assert second.batch_size.desired >= first.batch_size.desired


@given(auto, settled(), st.data())
def test_missing_data_never_lowers_below_what_data_at_the_target_would(
    policy: Policy, seen: Observation, data: st.DataObject
) -> None:
    """A pod that is at its target at most, then lost: the number falls no lower than it would have with its sample."""
    measured = [n for n, one in enumerate(seen.pods) if one.sample is not None]
    if not measured:
        return
    lost = data.draw(st.sampled_from(measured))
    target, utilization = policy.targets.queue_depth_per_replica, policy.targets.gpu_utilization_ratio
    quiet = sample(min(target, data.draw(depths)), busy=0.0 if utilization is None else utilization / 2)
    full = _with_pod(seen, replace(seen.pods[lost], sample=quiet))
    partial = _with_pod(seen, replace(seen.pods[lost], sample=None))
    base = policy.bounds.clamp(seen.replicas)
    with_it = decide(full, Memory(), policy, 0)[0].replicas.desired
    without = decide(partial, Memory(), policy, 0)[0].replicas.desired
    assert without >= min(base, with_it)


@given(auto, settled(), st.lists(settled(), max_size=3), st.data())
def test_more_load_never_lowers(
    policy: Policy, seen: Observation, history: list[Observation], data: st.DataObject
) -> None:
    memory = Memory()
    for now, earlier in enumerate(history):
        memory = decide(earlier, memory, policy, float(now))[1]
    # In a settled pool there are as many pods as replicas in force.
    memory = replace(memory, replicas=replace(memory.replicas, in_force=seen.replicas))
    loaded = tuple(replace(one, sample=_loaded(one, data)) for one in seen.pods)
    calm, _ = decide(seen, memory, policy, 10)
    busy, _ = decide(replace(seen, pods=loaded), memory, policy, 10)
    assert busy.replicas.desired >= calm.replicas.desired
    assert busy.batch_size.desired >= calm.batch_size.desired


@given(auto, st.lists(settled(), min_size=1, max_size=12), st.integers(1, 40))
def test_a_window_never_lowers_below_its_largest_need(policy: Policy, seen: list[Observation], step: int) -> None:
    memory, needs, previous = Memory(), [], None
    for n, observation in enumerate(seen):
        now = float(n * step)
        decision, memory = decide(observation, memory, policy, now)
        verdict = decision.replicas
        needs += [(now, one.number or 0) for one in verdict.proposals if one.rule == verdict.winner]
        if previous is not None and verdict.desired < previous:
            window = [need for at, need in needs if at > now - policy.scale_down.window_seconds]
            assert verdict.desired >= min(previous, policy.bounds.clamp(max(window, default=0)))
        previous = verdict.desired


def _with_pod(observation: Observation, one: PodObservation) -> Observation:
    return replace(observation, pods=tuple(one if other.uid == one.uid else other for other in observation.pods))


def _loaded(one: PodObservation, data: st.DataObject) -> PodSample | None:
    """The pod's sample with some more requests, and a GPU at least as busy."""
    seen = one.sample
    if seen is None:
        return None
    waiting, running = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 10))
    busy = seen.gpu_utilization_ratio
    return replace(
        seen,
        requests_waiting=(seen.requests_waiting or 0) + waiting,
        requests_running=(seen.requests_running or 0) + running,
        gpu_utilization_ratio=None if busy is None else min(1.0, busy + data.draw(st.floats(0, 1))),
    )
