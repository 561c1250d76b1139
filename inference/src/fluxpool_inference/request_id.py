"""The name of one exchange, in the header of its reply and in its line of the log."""

import uuid
from typing import Final

HEADER: Final = "x-request-id"


def new() -> str:
    """One that nobody has."""
    return f"req_{uuid.uuid4().hex}"
