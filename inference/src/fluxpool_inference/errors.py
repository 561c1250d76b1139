"""What a client is told when it does not get what it asked for, in OpenAI's shape.

    ApiError                            status  type                   code
    ├── InvalidRequestError             400     invalid_request_error  the kind of problem
    │   ├── UnauthorizedError           401     authentication_error   invalid_api_key
    │   ├── NotFoundError               404     invalid_request_error  not_found, model_not_found
    │   ├── MethodNotAllowedError       405     invalid_request_error  method_not_allowed
    │   ├── BodyTimeoutError            408     invalid_request_error  body_timeout
    │   ├── BodyTooLargeError           413     invalid_request_error  body_too_large
    │   ├── UnsupportedMediaTypeError   415     invalid_request_error  unsupported_content_type
    │   └── ClientGoneError             499     never sent; for the access log
    ├── OverloadedError                 429     rate_limit_error       queue_full, wait_too_long, deadline
    ├── GenerationFailedError           500     server_error           generation_failed
    └── UnavailableError                503     server_error           not_ready, draining

The engine's own exceptions (`Rejected`, `RequestFailed`, `StartError`) are in `fluxpool_inference.engine`; the edge
turns the first two into these, and the last into the exit of the process.
"""

import math
from collections.abc import Mapping
from typing import ClassVar


class ApiError(Exception):
    """An answer that is an error.

    Attributes:
        status: HTTP status.
        type: OpenAI's coarse class of errors.
        message: A sentence that names the field and what is allowed.
        param: The field, or None.
        code: The fine class, for programs.
        headers: Additional headers of the answer.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str] = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, dict[str, str | None]]:
        """The JSON body of the answer."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


class InvalidRequestError(ApiError):
    """The request itself is wrong; sending it again does not help."""

    status = 400
    type = "invalid_request_error"
    default_code = "invalid_value"


class UnauthorizedError(InvalidRequestError):
    """The bearer token is missing or wrong."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class NotFoundError(InvalidRequestError):
    """No such path, or no such model."""

    status = 404
    default_code = "not_found"


class MethodNotAllowedError(InvalidRequestError):
    """The path exists for other methods."""

    status = 405
    default_code = "method_not_allowed"


class BodyTimeoutError(InvalidRequestError):
    """The client took too long to send its request."""

    status = 408
    default_code = "body_timeout"


class BodyTooLargeError(InvalidRequestError):
    """The body has more bytes than the server takes."""

    status = 413
    default_code = "body_too_large"


class UnsupportedMediaTypeError(InvalidRequestError):
    """The body is not JSON, or it is compressed."""

    status = 415
    default_code = "unsupported_content_type"


class ClientGoneError(InvalidRequestError):
    """The client closed the connection before its answer; the status is nginx's."""

    status = 499
    default_code = "client_gone"


class _RetryLaterError(ApiError):
    def __init__(self, message: str, *, code: str, retry_after_seconds: float) -> None:
        super().__init__(message, code=code, headers={"retry-after": str(max(1, math.ceil(retry_after_seconds)))})


class OverloadedError(_RetryLaterError):
    """The request cannot be done in time; the same one may be later."""

    status = 429
    type = "rate_limit_error"


class UnavailableError(_RetryLaterError):
    """This replica does not serve now; another one may."""

    status = 503


class GenerationFailedError(ApiError):
    """The engine could not make an image."""

    default_code = "generation_failed"
