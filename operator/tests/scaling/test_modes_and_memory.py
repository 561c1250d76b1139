"""What an outcome means in each mode, whose numbers are in force, and what is remembered of which pool."""

from scaling.stage import START, Gauges, conditions, scaling, stage

from fluxpool_operator.scaling.outcome import ConditionFact

NAN = float("nan")


# ---- modes ----------------------------------------------------------------------------------------------------------


def test_hold_leaves_both_numbers() -> None:
    outcome = stage(1, {**scaling(mode="Hold"), "batching": {"mode": "Hold"}}, running=8, waiting=20).tick()
    assert (outcome.desired_replicas, outcome.desired_batch_size) == (None, None)
    assert outcome.scaling_active == ConditionFact("False", "Hold", "mode Hold: the replicas stay as they are")
    assert outcome.decision.replicas.desired == 1


def test_recommend_only_says_what_it_would_choose() -> None:
    spec = {**scaling(mode="Recommend"), "batching": {"mode": "Recommend", "size": 2}}
    outcome = stage(1, spec, running=8, waiting=20).tick()
    assert (outcome.desired_replicas, outcome.desired_batch_size) == (None, None)
    assert (outcome.recommended_replicas, outcome.recommended_batch_size) == (4, 8)
    assert outcome.decision.replicas.desired == 4
    assert conditions(outcome)[0] == ("False", "Recommend")
    assert outcome.event is not None
    assert outcome.event.reason == "Recommended"
    assert outcome.event.message.startswith("replicas 4: queue depth per replica is 28, target 8")


def test_a_recommendation_that_stays_makes_no_new_event() -> None:
    world = stage(1, scaling(mode="Recommend"), running=28)
    first = world.tick()
    assert world.tick() == first


def test_manual_is_silent_but_the_number_is_there_for_the_metric() -> None:
    spec = {"scaling": {"mode": "Manual"}, "replicas": 1, "batching": {"mode": "Manual", "size": 2}}
    outcome = stage(1, spec, running=8, waiting=72).tick()
    assert (outcome.desired_replicas, outcome.recommended_replicas) == (None, None)
    assert (outcome.desired_batch_size, outcome.recommended_batch_size) == (None, None)
    assert outcome.event is None
    assert conditions(outcome)[0] == ("False", "Manual")
    assert outcome.decision.replicas.desired == 10


def test_batching_in_another_mode_is_not_spoken_of() -> None:
    outcome = stage(1, {**scaling(), "batching": {"mode": "Hold"}}, running=8).tick()
    assert "batch size" not in outcome.scaling_active.message


# ---- the number in force --------------------------------------------------------------------------------------------


def test_the_number_in_force_is_what_status_says_where_the_operator_decides() -> None:
    world = stage(2, running=8)
    world.status = {"desired": {"replicas": 3, "batchSize": 5}}
    assert world.tick().desired_replicas == 3
    world = stage(2, scaling(mode="Recommend"), running=8)
    world.status = {"desired": {"replicas": 3}}
    assert world.tick().decision.replicas.previous == 2


def test_the_batch_size_in_force_is_status_or_spec_or_what_pods_run_with() -> None:
    latency = scaling(targets={"latencySeconds": 5})
    world = stage(2, latency, limit=4)
    assert world.tick().desired_batch_size == 4
    world = stage(2, latency, limit=4)
    world.status = {"desired": {"batchSize": 3}}
    assert world.tick().desired_batch_size == 3
    world = stage(2, {**latency, "batching": {"mode": "Manual", "size": 2}}, limit=4)
    assert world.tick().decision.batch_size.previous == 2
    world = stage(2, latency, limit=NAN)
    assert world.tick().desired_batch_size == 1


# ---- identity and memory --------------------------------------------------------------------------------------------


def test_a_pool_made_anew_under_the_same_name_starts_without_memory() -> None:
    world = stage(1, running=24)
    world.tick()
    again = world.pool()
    again = again.model_copy(update={"metadata": again.metadata.model_copy(update={"uid": "another"})})
    world.gauges = {uid: Gauges(running=8) for uid in world.gauges}
    world.tick()
    outcome = world.autoscaler.evaluate(again, world.pods, 1, START)
    assert outcome.desired_replicas == 1


def test_a_forgotten_pool_starts_without_memory() -> None:
    world = stage(1, running=24)
    assert world.tick().desired_replicas == 3
    world.autoscaler.forget(("default", "demo"))
    world.autoscaler.forget(("default", "unknown"))
    assert world.autoscaler.batch_sizes(("default", "demo")) == {}
    world.gauges = {uid: Gauges(running=8) for uid in world.gauges}
    assert world.tick().desired_replicas == 1


def test_series_of_pods_that_nobody_knows_are_nobodys() -> None:
    world = stage(1, running=8)
    world.gauges["uid-gone"] = Gauges(running=80)
    assert world.tick().desired_replicas == 1


def test_reported_batch_sizes_are_those_of_fresh_samples() -> None:
    world = stage(3, limit=4)
    world.gauges["uid-pod-1"].age = 900
    world.gauges["uid-pod-2"].limit = NAN
    world.tick()
    assert world.autoscaler.batch_sizes(("default", "demo")) == {"uid-pod-0": 4}
    assert world.autoscaler.batch_sizes(("default", "other")) == {}
