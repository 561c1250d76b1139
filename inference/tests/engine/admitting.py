"""Images that tests have the engine make."""

from typing import Any

from bed import Bed
from bench import image

from fluxpool_inference.engine import Priority, Ticket

LONG = 10_000
"""Steps: more than any test waits for."""
SLOW: dict[str, Any] = {"max_queue_seconds": 1e6, "drain_seconds": 1e9}


def ticket_of(tickets: list[Ticket]) -> Ticket:
    (ticket,) = tickets
    return ticket


async def admit(bed: Bed, *, steps: int = 4, prompt: str = "a tree", seed: int = 1, **more: Any) -> Ticket:
    request = image(prompt, steps=steps, seed=seed, priority=more.pop("priority", Priority.NORMAL))
    return ticket_of(await bed.engine.admit([request], **more))


async def pixels_of(ticket: Ticket) -> bytes:
    with await ticket.result() as made:
        return bytes(made.pixels)
