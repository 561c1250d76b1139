"""From Prometheus' samples to an `Outcome` for each FluxPool, and the batch size on to its pods.

prometheus       the HTTP API: instant queries, typed samples; errors has its errors
queries          what is asked, for all pools at once, and how answers are sorted
intervals        how often each pool is scraped, learned
policies         a FluxPool's spec as the library's Policy
observations     pods and samples as the library's Observation
autoscaler       poll, evaluate: memory per pool, from a Decision to an Outcome
condition_facts  the two conditions in words; steady keeps them still; events has the changes
cold_starts      Scheduled to Ready of the last pods
push             the batch size, told to ready pods
outcome          what the reconciler gets

The decision itself is `fluxpool_autoscaler.decide`.
"""

from fluxpool_operator.scaling.autoscaler import Autoscaler
from fluxpool_operator.scaling.prometheus import Prometheus
from fluxpool_operator.scaling.push import BatchPusher

__all__ = ["Autoscaler", "BatchPusher", "Prometheus"]
