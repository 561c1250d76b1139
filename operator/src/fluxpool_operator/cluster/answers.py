"""From an answer of the API server to an object or to a typed error."""

import json
from collections.abc import Mapping
from typing import Any

from fluxpool_operator.errors import (
    ClusterError,
    ConflictError,
    ExistsError,
    ForbiddenError,
    InvalidError,
    NamespaceEndsError,
    NotFoundError,
    ThrottledError,
    UnauthorizedError,
    UnavailableError,
)

_BY_CODE: dict[int, type[ClusterError]] = {
    400: InvalidError,
    401: UnauthorizedError,
    404: NotFoundError,
    409: ConflictError,
    413: InvalidError,
    415: InvalidError,
    422: InvalidError,
}
DEFAULT_RETRY_AFTER_SECONDS = 1.0
_NAMESPACE_ENDS = "NamespaceTerminating"
"""Cause that the API server's admission gives (k8s.io/api/core/v1, NamespaceTerminatingCause)."""


def read_answer(action: str, code: int, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The object in `body`.

    Args:
        action: what was tried, for the error's text: "apply Deployment ns/name".
        code: HTTP status.
        headers: of the answer; `Retry-After` is read.
        body: of the answer.

    Raises:
        ClusterError: `code` is no success, or the body is no JSON object.
    """
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if isinstance(answer, dict) and 200 <= code < 300:
        return answer
    raise _error(action, code, headers, answer if isinstance(answer, dict) else _status_of_text(code, body))


def _status_of_text(code: int, body: bytes) -> dict[str, Any]:
    return {"message": body[:200].decode(errors="replace").strip() or f"HTTP {code} without a message"}


def _error(action: str, code: int, headers: Mapping[str, str], status: Mapping[str, Any]) -> ClusterError:
    detail = str(status.get("message") or f"HTTP {code}")
    if code == 403:
        return (NamespaceEndsError if _NAMESPACE_ENDS in _causes(status) else ForbiddenError)(action, detail)
    if code == 429:
        return ThrottledError(action, detail, _retry_after_seconds(headers))
    if code == 409 and status.get("reason") == "AlreadyExists":
        return ExistsError(action, detail)
    return _BY_CODE.get(code, UnavailableError)(action, detail)


def _causes(status: Mapping[str, Any]) -> set[str]:
    causes = (status.get("details") or {}).get("causes") or ()
    return {str(cause.get("reason")) for cause in causes}


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    try:
        return max(DEFAULT_RETRY_AFTER_SECONDS, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return DEFAULT_RETRY_AFTER_SECONDS
