"""What routes say of themselves in `/openapi.json`, beyond their paths and types."""

from typing import Any

from fluxpool_inference.errors import ApiError
from fluxpool_inference.http.fields import Schema
from fluxpool_inference.http.schemas import ErrorReply

Responses = dict[int | str, dict[str, Any]]

_REQUEST_ID = {
    "name": "x-request-id",
    "in": "header",
    "description": "Comes back in the reply and stands in the log; made up if left out or strange.",
    "schema": {"type": "string", "pattern": r"^[A-Za-z0-9._:-]{1,128}$"},
}
_REQUEST_TIMEOUT = {
    "name": "x-request-timeout",
    "in": "header",
    "description": (
        "Seconds that the client will wait. A request that would take longer is refused with 429 at once. If left out,"
        " what OpenAI's clients send counts (`x-stainless-read-timeout`)."
    ),
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": 86_400},
}
_PRIORITY = {
    "name": "x-fluxpool-priority",
    "in": "header",
    "description": (
        "How urgent the images are: they should be done within 2 (`high`), 4 (`normal`) or 16 (`low`) times the time"
        " that they take alone. Whoever waits becomes the most urgent in the end."
    ),
    "schema": {"type": "string", "enum": ["high", "normal", "low"], "default": "normal"},
}
GENERATION_HEADERS = {"parameters": [_REQUEST_ID, _REQUEST_TIMEOUT, _PRIORITY]}
"""The headers that an operation that makes images reads."""

_RETRY_AFTER = {"retry-after": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
_TRUNCATED = {
    "x-fluxpool-truncated-tokens": {
        "description": "How many T5 tokens of the prompt did not fit and had no effect; absent if none.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "x-fluxpool-negative-truncated-tokens": {
        "description": "The same of the negative prompt.",
        "schema": {"type": "integer", "minimum": 1},
    },
}


def reply(model: type, description: str) -> Responses:
    """The reply with status 200."""
    return {200: {"model": model, "description": description}}


def images_reply(model: type) -> Responses:
    """The reply with images."""
    return {200: {"model": model, "description": "The images.", "headers": _TRUNCATED}}


def errors(*kinds: type[ApiError]) -> Responses:
    """Replies of these statuses, and that any other error has the same shape."""
    listed: Responses = {"default": {"model": ErrorReply, "description": "Any other error."}}
    for kind in kinds:
        headers = {"headers": _RETRY_AFTER} if kind.status in {429, 503} else {}
        listed[kind.status] = {"model": ErrorReply, "description": (kind.__doc__ or "").strip(), **headers}
    return listed


def describe_body(document: dict[str, Any], path: str, method: str, schema: Schema) -> None:
    """Add to FastAPI's document that an operation takes JSON of this schema.

    Only now, since FastAPI's own type of a schema makes numbers floats, and 2**64 - 1 is none.
    """
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    document["paths"][path][method.lower()]["requestBody"] = body
