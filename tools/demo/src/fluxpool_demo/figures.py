"""The figures of the moment: what the live view shows and the plain lines print."""

from collections.abc import Sequence
from dataclasses import dataclass

from fluxpool_demo.load import OpenLoop, RequestRecord
from fluxpool_demo.record import Sample
from fluxpool_demo.report import percentile
from fluxpool_demo.schedule import Step

WINDOW_SECONDS = 10.0
BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Figures:
    """One moment. Rates and latencies are of the last 10 s; None is what nobody can tell yet."""

    second: float
    step: Step | None
    sample: Sample
    images_per_second: float
    p95_seconds: float | None
    sent: int
    answered: int
    in_flight: int
    failed: int
    rejections: int

    @property
    def queue(self) -> float | None:
        """Requests in the pool."""
        if self.sample.waiting is None or self.sample.running is None:
            return None
        return self.sample.waiting + self.sample.running


def figures(second: float, now: float, step: Step | None, sample: Sample, loop: OpenLoop) -> Figures:
    """The figures now.

    Args:
        second: since the load began.
        now: on the loop's clock.
        step: of the load that is on.
        sample: the latest of the pool.
        loop: the load.
    """
    recent = _recent(loop.records, now)
    return Figures(
        second=second,
        step=step,
        sample=sample,
        images_per_second=len(recent) / WINDOW_SECONDS,
        p95_seconds=percentile([record.latency_seconds for record in recent], 95),
        sent=loop.sent,
        answered=sum(1 for record in loop.records if record.ok),
        in_flight=loop.in_flight,
        failed=sum(1 for record in loop.records if not record.ok),
        rejections=sum(record.rejections for record in loop.records),
    )


def _recent(records: Sequence[RequestRecord], now: float) -> list[RequestRecord]:
    """Images of the window; records are in order of completion, so the search ends with the first older one."""
    found = []
    for record in reversed(records):
        if record.done_at < now - WINDOW_SECONDS:
            break
        if record.ok:
            found.append(record)
    return found


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The last `width` values as blocks between 0 and their maximum; a blank where there is none."""
    last = list(values)[-width:]
    top = max((value for value in last if value is not None), default=0.0)
    return "".join(_block(value, top) for value in last)


def _block(value: float | None, top: float) -> str:
    if value is None:
        return " "
    return BLOCKS[round(value / top * (len(BLOCKS) - 1))] if top > 0 else BLOCKS[0]


def in_one_line(now: Figures) -> str:
    """The figures for a log."""
    sample = now.sample
    parts = [
        f"{now.second:5.0f} s",
        f"asked {now.step.rate:g}/s" if now.step else "no load",
        f"answered {now.images_per_second:.1f}/s",
        f"p95 {number(now.p95_seconds, '.1f')} s",
        f"queue {number(now.queue)}",
        f"batch size {number(sample.batch_size)}",
        f"replicas {sample.ready} of {number(sample.desired_replicas)}",
        f"failed {now.failed}",
    ]
    return "  ".join(parts)


def number(value: float | None, form: str = "g") -> str:
    """A number for people; a dash for none."""
    return "-" if value is None else format(value, form)
