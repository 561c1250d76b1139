"""Why nothing was read from Prometheus.

OperatorError
└── PrometheusError             nothing was read; the message says from where and why, without credentials
    ├── NotConfiguredError      the operator has no Prometheus
    ├── NotPolledError          the operator has just started
    ├── UnreachableError        no answer: refused, timed out, no such host, TLS not trusted
    ├── UnauthorizedError       401 or 403, or a token file that cannot be read
    ├── QueryError              Prometheus answered that the query failed, or failed itself (5xx)
    └── BadResponseError        an answer that is not one of Prometheus' HTTP API
"""

from fluxpool_operator.errors import OperatorError


class PrometheusError(OperatorError):
    """Nothing was read.

    Attributes:
        reason: one CamelCase word, fit for a condition and a metric label.
    """

    reason = "PrometheusError"


class NotConfiguredError(PrometheusError):
    """There is no Prometheus to ask."""

    reason = "NotConfigured"

    def __init__(self) -> None:
        super().__init__(
            "the operator has no Prometheus: set the chart's prometheus.install or prometheus.url, or use mode Manual"
        )


class NotPolledError(PrometheusError):
    """The first poll has not come back."""

    reason = "NotPolled"

    def __init__(self) -> None:
        super().__init__("the operator has just started and has not read any metrics yet")


class UnreachableError(PrometheusError):
    """No answer."""

    reason = "PrometheusUnreachable"


class UnauthorizedError(PrometheusError):
    """The credentials are not accepted, or cannot be read."""

    reason = "Unauthorized"


class QueryError(PrometheusError):
    """The query failed on the server."""

    reason = "QueryError"


class BadResponseError(PrometheusError):
    """The answer is not of Prometheus' HTTP API."""

    reason = "BadResponse"
