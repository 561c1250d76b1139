"""Replies: small JSON by way of `json`, images as bytes that are never copied through it."""

import json
from collections.abc import Iterator, Mapping, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fluxpool_inference.errors import ApiError, InvalidRequestError, MethodNotAllowedError, NotFoundError

SEND_BYTES = 256 * 1024
"""Bytes given to the socket at once: between two pieces the event loop serves others."""


class JsonReply(Response):
    """Plain ASCII JSON, so that any text a client sent can be quoted back."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Serialise."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class ImagesReply(Response):
    """OpenAI's images response: `created`, `data` with `b64_json` and `seed`, and what the images are."""

    media_type = "application/json"

    def __init__(
        self,
        *,
        created: int,
        images: Sequence[tuple[bytes, int]],
        image_format: str,
        size: str,
        headers: Mapping[str, str],
    ) -> None:
        """`images` are pairs of base64 and seed; `created` is Unix time in seconds."""
        parts = list(_images_json(created, images, image_format, size))
        length = sum(len(part) for part in parts)
        self._parts = parts if length > SEND_BYTES else [b"".join(parts)]  # each is a write of its own
        super().__init__(headers={**headers, "content-length": str(length)})

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send piece by piece."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        pieces = (part[start : start + SEND_BYTES] for part in self._parts for start in range(0, len(part), SEND_BYTES))
        piece = next(pieces)
        for following in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = following
        await send({"type": "http.response.body", "body": piece, "more_body": False})


def _images_json(created: int, images: Sequence[tuple[bytes, int]], image_format: str, size: str) -> Iterator[bytes]:
    yield b'{"created":%d,"output_format":"%s","size":"%s","data":[' % (created, image_format.encode(), size.encode())
    for k, (encoded, seed) in enumerate(images):
        yield b"%s" % (b',{"b64_json":"' if k else b'{"b64_json":"')
        yield encoded
        yield b'","seed":%d}' % seed
    yield b"]}"


async def api_error(_request: Request, error: Exception) -> Response:
    """The reply for an ApiError that a handler raised."""
    if not isinstance(error, ApiError):
        raise error
    return JsonReply(error.body(), status_code=error.status, headers=error.headers)


async def http_error(request: Request, error: Exception) -> Response:
    """The reply for what Starlette's router refuses: an unknown path or method."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.scope["path"][:200]
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        wrong = MethodNotAllowedError(
            f"{request.method[:20]} is not allowed on {path}; allowed: {allow}.", headers={"allow": allow}
        )
        return await api_error(request, wrong)
    if error.status_code == 404:
        return await api_error(request, NotFoundError(f"There is no {path} here."))
    return JsonReply(InvalidRequestError(error.detail).body(), status_code=error.status_code)


async def internal_error(request: Request, _error: Exception) -> Response:
    """The reply for a bug: the log has the traceback, the client gets the id to ask about."""
    return await api_error(request, ApiError("The server failed; its log says why under the request's x-request-id."))
