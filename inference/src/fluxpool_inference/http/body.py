"""Reads a JSON object from a request, within bounds of size and time."""

import asyncio
import json
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from fluxpool_inference.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientGoneError,
    InvalidRequestError,
    UnsupportedMediaTypeError,
)

READ_TIMEOUT_SECONDS = 30
"""So long may a client take to send its body; it also bounds what a drain waits for."""
MOST_DIGITS = 4000
"""Of an integer: far more than any field takes, and fewer than Python refuses to read (4300)."""


async def read_json_object(request: Request, max_bytes: int) -> dict[str, object]:
    """The body of the request. Raises InvalidRequestError or one of its kind that tells what is wrong."""
    _require_json(request)
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            body = await _read(request, max_bytes)
    except TimeoutError:
        raise BodyTimeoutError(f"The body did not arrive within {READ_TIMEOUT_SECONDS} seconds.") from None
    except ClientDisconnect:
        raise ClientGoneError("The client closed the connection while it sent the body.") from None
    return _parse(body)


def _require_json(request: Request) -> None:
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaTypeError(f"The content type must be application/json, and is '{content_type[:100]}'.")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaTypeError("The body must not be compressed.", code="unsupported_content_encoding")


async def _read(request: Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLargeError(f"The body must have at most {max_bytes} bytes.")
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, parse_int=_integer)
    except RecursionError:
        raise InvalidRequestError("The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        raise InvalidRequestError(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(value, dict):
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_json")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has more than {MOST_DIGITS} digits")
    return int(digits)
