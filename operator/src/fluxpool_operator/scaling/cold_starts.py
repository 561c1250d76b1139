"""The last cold starts of a pool: Scheduled to Ready, of pods of its present template."""

from collections import deque
from collections.abc import Iterator, Sequence

from fluxpool_autoscaler import ColdStart, summarize
from fluxpool_autoscaler.cold_start import STARTS_KEPT
from fluxpool_operator.world import PodView

_LONGEST_SECONDS = 3600.0
"""What takes longer is a pod that was ready before: the API server only tells when it *last* became ready."""


class ColdStarts:
    """Collects starts as pods come by. Each pod counts once, when it is first seen ready; a restarted one never."""

    def __init__(self) -> None:
        self._template = ""
        self._seconds: deque[float] = deque(maxlen=STARTS_KEPT)
        self._counted: set[str] = set()

    def see(self, pods: Sequence[PodView]) -> ColdStart | None:
        """Take in a look at the pool's pods; the figures, None before the first start of this template."""
        current = [pod for pod in pods if pod.current_template]
        template = next((pod.template_hash for pod in current), self._template)
        if template != self._template:
            self._template = template
            self._seconds.clear()
            self._counted.clear()
        starts = [(at, uid, seconds) for pod in current for at, uid, seconds in _start(pod) if uid not in self._counted]
        self._seconds.extend(seconds for _, _, seconds in sorted(starts))
        self._counted = {pod.uid for pod in current if pod.ready or pod.uid in self._counted}
        return summarize(list(self._seconds)) if self._seconds else None


def _start(pod: PodView) -> Iterator[tuple[float, str, float]]:
    """When the pod became ready, its UID, and how many seconds that took; nothing if it tells of no cold start."""
    if pod.ready_at is None or pod.scheduled_at is None or pod.restarts:
        return
    seconds = (pod.ready_at - pod.scheduled_at).total_seconds()
    if 0 <= seconds <= _LONGEST_SECONDS:
        yield pod.ready_at.timestamp(), pod.uid, seconds
