"""How an engine says no: that it cannot start, that it does not admit a request, that an image cannot be made."""

from enum import StrEnum


class StartFailure(StrEnum):
    """Why an engine cannot start, as the termination message of a pod says it."""

    MODEL_LOAD_FAILED = "ModelLoadFailed"
    INVALID_CONFIGURATION = "InvalidConfiguration"
    DEVICE_UNAVAILABLE = "DeviceUnavailable"


class RejectReason(StrEnum):
    """Why a request was not admitted. The first three are capacity rejections: the same request may succeed later."""

    QUEUE_FULL = "queue_full"
    WAIT_TOO_LONG = "wait_too_long"
    DEADLINE = "deadline"
    DRAINING = "draining"
    NOT_READY = "not_ready"


class StartError(Exception):
    """The engine cannot serve with this configuration, model or device.

    Attributes:
        reason: One of the three reasons of the wire contract.
        message: One sentence that names the file, tensor or setting to look at.
    """

    def __init__(self, reason: StartFailure, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class TooLarge(Exception):  # noqa: N818 - an answer to the client, not a fault
    """No image of this size can be made: the device's memory does not hold one. Another server's may.

    Attributes:
        problem: Completes a sentence that begins with the size's name; says what is possible.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"size {problem}")
        self.problem = problem


class TooLong(Exception):  # noqa: N818 - an answer to the client, not a fault
    """A request is within all limits and still takes longer than the server may take to drain.

    Attributes:
        problem: Completes a sentence that begins with the request; says what is possible.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"the request {problem}")
        self.problem = problem


class Rejected(Exception):  # noqa: N818 - an answer to the client, not a fault
    """The request was not admitted; nothing of it was started.

    Attributes:
        reason: Why.
        retry_after_seconds: When the same request would be admitted, as estimated, with jitter.
        message: A sentence for the client.
    """

    def __init__(self, reason: RejectReason, retry_after_seconds: float, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        self.message = message


class RequestFailed(Exception):  # noqa: N818 - "request failed" is the field's word
    """An admitted image could not be made: out of memory alone, non-finite latents, or a worker that died twice."""


def first_line(error: BaseException) -> str:
    """What went wrong, without the advice of many lines that libraries add."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
