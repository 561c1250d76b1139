"""What a client's headers say about its patience, its urgency and its retries."""

import math

from starlette.datastructures import Headers

from fluxpool_inference.engine import Priority
from fluxpool_inference.errors import InvalidRequestError

MAX_TIMEOUT_SECONDS = 86_400.0


def deadline_seconds(headers: Headers) -> float | None:
    """How long the client will wait, from now: `x-request-timeout`, else what OpenAI's clients send, else None.

    Python's sends its read timeout, JavaScript's its timeout; both are no one's wish, so a strange one counts as none.
    Raises InvalidRequestError for an `x-request-timeout` that is no number of seconds.
    """
    explicit = headers.get("x-request-timeout")
    if explicit is not None:
        seconds = _seconds(explicit)
        if seconds is None:
            raise InvalidRequestError(
                f"The header x-request-timeout must be a number of seconds, above 0 to {MAX_TIMEOUT_SECONDS:.0f}.",
                param="x-request-timeout",
            )
        return seconds
    return _seconds(headers.get("x-stainless-read-timeout") or headers.get("x-stainless-timeout", ""))


def priority(headers: Headers) -> Priority:
    """How urgent it is: `x-fluxpool-priority`, else normal. Raises InvalidRequestError for one that there is not."""
    text = headers.get("x-fluxpool-priority", Priority.NORMAL)
    try:
        return Priority(text.strip().lower())
    except ValueError:
        raise InvalidRequestError(
            f"The header x-fluxpool-priority must be {', '.join(Priority)}, and is '{text[:100]}'.",
            param="x-fluxpool-priority",
        ) from None


def is_first_attempt(headers: Headers) -> bool:
    """Whether this is not a retry: OpenAI's clients count theirs."""
    return headers.get("x-stainless-retry-count", "0").strip() in {"", "0"}


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= MAX_TIMEOUT_SECONDS else None
