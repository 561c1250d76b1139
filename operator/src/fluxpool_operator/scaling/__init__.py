"""From Prometheus' samples to an `Outcome` for each FluxPool."""
