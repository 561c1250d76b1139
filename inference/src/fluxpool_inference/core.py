"""The part of a server that needs no HTTP, and is there before it: the engine, and what watches it."""

from collections.abc import Callable
from dataclasses import dataclass

from fluxpool_inference.engine import Engine, EngineConfig, EngineObserver
from fluxpool_inference.metrics import Metrics
from fluxpool_inference.readiness import Readiness
from fluxpool_inference.settings import ServeSettings

EngineFactory = Callable[[EngineConfig, EngineObserver], Engine]


@dataclass(frozen=True, slots=True)
class Core:
    """One server's; nothing of it is loaded yet."""

    engine: Engine
    metrics: Metrics
    readiness: Readiness


def build_core(settings: ServeSettings, make_engine: EngineFactory = Engine) -> Core:
    """Make all parts."""
    metrics = Metrics(
        namespace=settings.namespace,
        pool=settings.pool,
        pod_uid=settings.pod_uid,
        batch_size_max=settings.batch_size_max,
    )
    engine = make_engine(settings.engine_config(), metrics)
    readiness = Readiness(engine.status)
    metrics.watch(engine.status, readiness)
    return Core(engine, metrics, readiness)
