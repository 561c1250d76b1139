"""Images that tests have the engine make."""

from typing import Any

from bed import Bed
from bench import image
from fake_model import picture

from fluxpool_inference.engine import Priority, Ticket

LONG = 10_000
"""Steps: more than any test waits for."""
SLOW: dict[str, Any] = {"max_queue_seconds": 1e6, "drain_seconds": 1e9}


async def admit(bed: Bed, prompt: str = "a tree", *, steps: int = 4, seed: int = 1, **more: Any) -> Ticket:
    request = image(prompt, steps=steps, seed=seed, priority=more.pop("priority", Priority.NORMAL))
    (ticket,) = await bed.engine.admit([request], **more)
    return ticket


async def pixels_of(ticket: Ticket) -> bytes:
    with await ticket.result() as made:
        return bytes(made.pixels)


async def assert_made(*tickets: Ticket) -> None:
    for ticket in tickets:
        assert await pixels_of(ticket) == picture(ticket.request)
