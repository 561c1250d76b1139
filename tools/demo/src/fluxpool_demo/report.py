"""report.json: the figures of a run, computed from its recording."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fluxpool_demo.record import Knob, Recording
from fluxpool_demo.verdict import OVERRUN_SHARE_LIMIT, first_rise, judge

SCALE_WRITE_AIM_SECONDS = 5.0
TOTAL_AIM_SECONDS = 360.0


def percentile(values: Sequence[float], percent: float) -> float | None:
    """With linear interpolation; None of nothing."""
    return float(np.percentile(values, percent)) if values else None


def summarize(run: Recording) -> dict[str, Any]:
    """The content of report.json.

    `throughput` is images per second from the first request due to the last answer. Latencies are seconds from when a
    request was due. `seconds_from_load_step_to_scale_write` runs from the last rise of the load before the first rise
    of desired replicas to that write, as a watch of the pool saw it.
    """
    ok = [request for request in run.requests if request.ok]
    latencies = [request.latency_seconds for request in ok]
    return {
        "images_ok": len(ok),
        "images_failed": len(run.requests) - len(ok),
        "rejected_429": sum(request.rejections for request in run.requests),
        "unanswered_attempts": sum(request.unanswered for request in run.requests),
        "seconds_to_ready": _rounded(run.ready_at),
        "seconds_to_first_image": _rounded(run.first_image_at),
        "replicas_peak": max((sample.ready for sample in run.samples), default=0),
        "batch_size_peak": max((sample.batch_size or 0 for sample in run.samples), default=0),
        "seconds_from_load_step_to_scale_write": _rounded(scale_write_seconds(run)),
        "scrape_interval_seconds": run.scrape_interval_seconds,
        "paced": run.pacing.steps > 0,
        "pace_steps": run.pacing.steps,
        "pace_overruns": run.pacing.overruns,
        "throughput": _rounded(throughput(run)),
        "p50_latency_seconds": _rounded(percentile(latencies, 50)),
        "p95_latency_seconds": _rounded(percentile(latencies, 95)),
        "decisions": [
            {
                "seconds_since_load": _rounded(decision.at - run.load_started_at),
                "what": decision.knob,
                "before": decision.before,
                "after": decision.after,
                "reason": decision.reason or ("the pool is new" if decision.before is None else ""),
            }
            for decision in run.decisions
        ],
        "checks": [{"name": check.name, "met": check.met, "found": check.found} for check in judge(run)],
        "aims": _aims(run),
        "total_seconds": _rounded(run.total_seconds),
        "machine": dict(run.machine),
        "versions": dict(run.versions),
        "date": run.date,
        "command": run.command,
    }


def write(run: Recording, path: Path) -> None:
    """Write report.json."""
    path.write_text(json.dumps(summarize(run), indent=2) + "\n", encoding="utf-8")


def scale_write_seconds(run: Recording) -> float | None:
    """From a rise of the load to the first rise of desired replicas after it; None if they never rose."""
    rise = first_rise(run, Knob.REPLICAS)
    if rise is None:
        return None
    starts = [run.load_started_at + second for second in run.schedule.rises]
    return rise.at - max(start for start in starts if start <= rise.at)


def throughput(run: Recording) -> float:
    """Images per second from the first request due to the last answer."""
    done = [request.done_at for request in run.requests if request.ok]
    if not done:
        return 0.0
    return len(done) / (max(done) - min(request.due_at for request in run.requests))


def _aims(run: Recording) -> list[dict[str, Any]]:
    failed = sum(1 for request in run.requests if not request.ok)
    scale_write = scale_write_seconds(run)
    return [
        _aim("images failed", "0", failed, met=failed == 0),
        _aim(
            "seconds from a load step to the write of replicas",
            f"<= {SCALE_WRITE_AIM_SECONDS:g}",
            _rounded(scale_write),
            met=scale_write is not None and scale_write <= SCALE_WRITE_AIM_SECONDS,
        ),
        _aim(
            "share of paced steps that overran",
            f"<= {OVERRUN_SHARE_LIMIT:g}",
            round(run.pacing.overrun_share, 4),
            met=run.pacing.overrun_share <= OVERRUN_SHARE_LIMIT,
        ),
        _aim(
            "seconds in all",
            f"< {TOTAL_AIM_SECONDS:g}",
            _rounded(run.total_seconds),
            met=0 < run.total_seconds < TOTAL_AIM_SECONDS,
        ),
    ]


def _aim(name: str, aim: str, value: float | None, *, met: bool) -> dict[str, Any]:
    return {"name": name, "aim": aim, "value": value, "met": met}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
