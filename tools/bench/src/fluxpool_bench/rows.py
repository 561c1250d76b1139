"""Rows per denoising step, read from a fluxpool server's `/metrics` before and after a run."""

from prometheus_client.parser import text_string_to_metric_families

METRIC = "fluxpool_batch_rows"


def histogram(text: str | None) -> dict[float, float]:
    """Cumulative counts by upper bound, summed over series; empty where the server has no such metric."""
    counts: dict[float, float] = {}
    if text is None or METRIC not in text:
        return counts
    for family in text_string_to_metric_families(text):
        if family.name == METRIC:
            for sample in family.samples:
                if sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    counts[bound] = counts.get(bound, 0.0) + sample.value
    return counts


def steps_by_rows(before: dict[float, float], after: dict[float, float]) -> dict[str, float]:
    """How many steps of the run had at most so many rows (and more than the bound below), by upper bound.

    Empty if nothing was known before, for then the counts since the server's start are not those of the run, or if a
    count went down: another process answered, of several behind one address or after a restart.
    """
    if not before or any(after.get(bound, 0.0) < count for bound, count in before.items()):
        return {}
    steps, below = {}, 0.0
    for bound in sorted(after):
        cumulative = after[bound] - before.get(bound, 0.0)
        steps[f"{bound:g}"] = cumulative - below
        below = cumulative
    return steps
