"""The operator's metrics."""

from fluxpool_operator.controller.measuring import make_metrics


def samples(exposition: bytes) -> dict[str, float]:
    lines = [line for line in exposition.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_everything_known_in_advance_is_there_at_zero_from_the_start() -> None:
    found = samples(make_metrics().render())
    for name in (
        'fluxpool_operator_reconciles_total{outcome="error"}',
        'fluxpool_operator_writes_total{kind="Deployment",result="ok",verb="apply"}',
        'fluxpool_operator_writes_total{kind="FluxPool",result="ok",verb="patch_status"}',
        'fluxpool_operator_watch_events_total{kind="Pod",type="DELETED"}',
        'fluxpool_operator_prometheus_query_errors_total{reason="Unauthorized"}',
        'fluxpool_operator_decisions_total{knob="replicas",rule="queue_depth"}',
        'fluxpool_operator_batch_pushes_total{result="failed"}',
        "fluxpool_operator_queue_depth",
        "fluxpool_operator_retries_total",
        "fluxpool_operator_reconcile_duration_seconds_count",
        "fluxpool_operator_missed_deletions_total",
    ):
        assert found[name] == 0, name
    assert found["process_resident_memory_bytes"] > 0
    assert not any(name.partition("{")[0].endswith("_created") for name in found)


def test_a_pools_series_go_with_the_pool() -> None:
    metrics = make_metrics()
    metrics.set_pool("art", "demo", desired=3, batch_size=None, current=2)
    found = samples(metrics.render())
    assert found['fluxpool_desired_replicas{namespace="art",pool="demo"}'] == 3
    assert found['fluxpool_current_replicas{namespace="art",pool="demo"}'] == 2
    assert not any(name.startswith("fluxpool_desired_batch_size") for name in found), "no number, no series"
    metrics.set_pool("art", "demo", desired=3, batch_size=4, current=2)
    assert samples(metrics.render())['fluxpool_desired_batch_size{namespace="art",pool="demo"}'] == 4
    metrics.forget_pool("art", "demo")
    assert not any('pool="demo"' in name for name in samples(metrics.render()))


def test_writes_and_events_are_counted_by_what_they_were() -> None:
    metrics = make_metrics()
    metrics.count_write("Service", "apply", "conflict")
    metrics.count_watch_event("Pod", None)
    metrics.count_watch_event("Pod", "MODIFIED")
    found = samples(metrics.render())
    assert found['fluxpool_operator_writes_total{kind="Service",result="conflict",verb="apply"}'] == 1
    assert found['fluxpool_operator_watch_events_total{kind="Pod",type="LISTED"}'] == 1
    assert found['fluxpool_operator_watch_events_total{kind="Pod",type="MODIFIED"}'] == 1
