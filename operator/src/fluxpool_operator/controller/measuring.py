"""The metrics of the process, and the connection to Prometheus as the settings want it."""

from collections.abc import Callable
from importlib.metadata import version

from pydantic import AnyHttpUrl

from fluxpool_operator.cluster import kinds
from fluxpool_operator.errors import SettingsError
from fluxpool_operator.metrics import Metrics
from fluxpool_operator.scaling import Prometheus
from fluxpool_operator.scaling.errors import PrometheusError
from fluxpool_operator.scaling.prometheus import Sample
from fluxpool_operator.settings import Settings


def make_metrics() -> Metrics:
    """The metrics, with every label value that is known in advance."""
    children = [kind.name for kind in kinds.CHILDREN]
    return Metrics(
        version("fluxpool-operator"),
        writes=[
            (kinds.FLUXPOOL.name, "patch_status"),
            *((kind, "apply") for kind in children),
            (kinds.EVENT.name, "create"),
            (kinds.EVENT.name, "patch"),
        ],
        watched=[kinds.FLUXPOOL.name, kinds.POD.name, *children],
        query_errors=sorted(kind.reason for kind in PrometheusError.__subclasses__()),
    )


class CountedPrometheus(Prometheus):
    """Counts the queries that fail.

    Args:
        url: base URL.
        settings: how to log in there.
        on_error: called with the reason of each failure.

    Raises:
        SettingsError: the CA file cannot be used.
    """

    def __init__(self, url: AnyHttpUrl, settings: Settings, on_error: Callable[[str], None]) -> None:
        try:
            super().__init__(
                str(url),
                token_file=settings.prometheus_token_file,
                ca_file=settings.prometheus_ca_file,
                headers=settings.prometheus_headers,
            )
        except OSError as error:
            raise SettingsError(f"FLUXPOOL_OPERATOR_PROMETHEUS_CA_FILE: {error}") from error
        self._on_error = on_error

    async def query(self, promql: str) -> list[Sample]:
        """As `Prometheus.query`."""
        try:
            return await super().query(promql)
        except PrometheusError as error:
            self._on_error(error.reason)
            raise


def make_prometheus(settings: Settings, metrics: Metrics) -> Prometheus | None:
    """The connection, None if none is configured.

    Raises:
        SettingsError: the CA file cannot be used.
    """
    if settings.prometheus_url is None:
        return None
    return CountedPrometheus(
        settings.prometheus_url, settings, lambda reason: metrics.query_errors.labels(reason).inc()
    )
