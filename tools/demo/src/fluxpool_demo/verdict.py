"""What a run must have shown. Each check is a sentence that is true of a recording or not."""

from dataclasses import dataclass

from fluxpool_demo.record import Decision, Knob, PodRecord, Recording

OVERRUN_SHARE_LIMIT = 0.01
"""Above this the pace was not held, and the pods did not have the speed that the run claims."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must have happened, and what happened instead if it did not."""

    name: str
    met: bool
    found: str


def judge(run: Recording) -> tuple[Check, ...]:
    """All checks, in the order of the story."""
    return (
        _no_request_failed(run),
        _batch_size_rose_first(run),
        _no_pod_restarted(run),
        _no_pod_was_replaced_while_load_rose(run),
        _replicas_followed(run),
        _both_came_down(run),
        _pace_was_held(run),
    )


def first_rise(run: Recording, knob: Knob) -> Decision | None:
    """The first time the operator raised a number after the load began."""
    rises = (decision for decision in run.decisions if decision.knob is knob and decision.is_rise)
    return next((decision for decision in rises if decision.at >= run.load_started_at), None)


def _no_request_failed(run: Recording) -> Check:
    failed = [request for request in run.requests if not request.ok]
    found = f"{len(failed)} of {len(run.requests)} failed" + (f", first: {failed[0].error}" if failed else "")
    return Check("no request failed", bool(run.requests) and not failed, found)


def _batch_size_rose_first(run: Recording) -> Check:
    batch_size, replicas = first_rise(run, Knob.BATCH_SIZE), first_rise(run, Knob.REPLICAS)
    name = "the batch size went up before the replicas"
    if batch_size is None:
        return Check(name, met=False, found="the batch size never went up")
    raised_at = _batch_size_reached_at(run, batch_size.after)
    if raised_at is None:
        return Check(name, met=False, found=f"no pod ever ran with batch size {batch_size.after}")
    if replicas is None:
        return Check(name, met=True, found="the replicas never went up")
    gap = replicas.at - raised_at
    return Check(name, gap > 0, f"pods ran with it {abs(gap):.1f} s {'before' if gap > 0 else 'after'}")


def _batch_size_reached_at(run: Recording, size: int) -> float | None:
    samples = (sample for sample in run.samples if sample.at >= run.load_started_at)
    return next((sample.at for sample in samples if sample.batch_size == size), None)


def _no_pod_restarted(run: Recording) -> Check:
    restarted = [pod.name for pod in run.pods if pod.restarts]
    return Check("no pod restarted", not restarted, f"restarted: {', '.join(restarted) or 'none'}")


def _no_pod_was_replaced_while_load_rose(run: Recording) -> Check:
    ended = [pod.name for pod in _pods_at(run, run.load_started_at) if _ended_before(pod, run.load_ended_at)]
    found = f"ended under load: {', '.join(ended) or 'none'}"
    return Check("no pod was replaced while load rose", not ended, found)


def _pods_at(run: Recording, second: float) -> list[PodRecord]:
    return [pod for pod in run.pods if pod.seen_at <= second and not _ended_before(pod, second)]


def _ended_before(pod: PodRecord, second: float) -> bool:
    return pod.ending_at is not None and pod.ending_at < second


def _replicas_followed(run: Recording) -> Check:
    before = max((sample.ready for sample in run.samples if sample.at < run.load_started_at), default=0)
    peak = max((sample.ready for sample in run.samples), default=0)
    return Check("replicas followed and served", peak > before > 0, f"{before} ready before the load, {peak} at most")


def _both_came_down(run: Recording) -> Check:
    before = [sample for sample in run.samples if sample.at < run.load_started_at]
    if not before or not run.samples:
        return Check("both came down again", met=False, found="nothing was seen before the load")
    rest, end = before[-1], run.samples[-1]
    down = end.desired_replicas == rest.desired_replicas and end.batch_size == rest.batch_size and end.pods == rest.pods
    found = (
        f"replicas {rest.desired_replicas} before and {end.desired_replicas} after, pods {rest.pods} and {end.pods}, "
        f"batch size {rest.batch_size} and {end.batch_size}"
    )
    return Check("both came down again", down, found)


def _pace_was_held(run: Recording) -> Check:
    pacing = run.pacing
    found = f"{pacing.overruns} of {pacing.steps} steps took longer than the pace ({100 * pacing.overrun_share:.2f} %)"
    return Check("the pace was held", pacing.steps > 0 and pacing.overrun_share <= OVERRUN_SHARE_LIMIT, found)
