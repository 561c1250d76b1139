"""Who is urgent: every image has a deadline from its arrival on, and it never moves.

Deadline = arrival + factor x the time it takes alone, with the factor of its priority; a client that said when it will
hang up earlier than that moves it forward, never back (the default of OpenAI's SDK is 600 s, and is no wish to wait so
long). Since deadlines stand still while those of new arrivals move on, every image becomes the most urgent one: that
is the ageing, and why nothing starves.
"""

from fluxpool_inference.values import Priority

FACTORS = {Priority.HIGH: 2.0, Priority.NORMAL: 4.0, Priority.LOW: 16.0}


def deadline(arrival: float, work_seconds: float, priority: Priority, client_seconds: float | None = None) -> float:
    """The moment by which an image should be done.

    Args:
        arrival: The moment of admission.
        work_seconds: Of the image alone.
        priority: Of its request.
        client_seconds: How long from `arrival` the client waits; None if it did not say.
    """
    patience = FACTORS[priority] * work_seconds
    return arrival + (patience if client_seconds is None else min(patience, client_seconds))
