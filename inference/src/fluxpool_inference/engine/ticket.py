"""What `Engine.admit` gives for each image."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from fluxpool_inference.engine.image import RawImage
from fluxpool_inference.engine.ledger import Entry
from fluxpool_inference.values import ImageRequest


class Ticket(Protocol):
    """One admitted image."""

    @property
    def request(self) -> ImageRequest:
        """What was asked for."""

    @property
    def wait_estimate_seconds(self) -> float:
        """The wait that was estimated at admission."""

    async def result(self) -> RawImage:
        """Wait for the pixels. Cancelling this await cancels the image. Raises RequestFailed."""

    def cancel(self) -> None:
        """Give the image up: its row is freed at the next step, its pixels are released. Idempotent, never raises."""


class EntryTicket:
    """The ticket of an entry of the ledger."""

    def __init__(self, entry: Entry, cancel: Callable[[Entry], None]) -> None:
        self._entry = entry
        self._cancel = cancel

    @property
    def request(self) -> ImageRequest:
        """See `Ticket`."""
        return self._entry.request

    @property
    def wait_estimate_seconds(self) -> float:
        """See `Ticket`."""
        return self._entry.wait_estimate_seconds

    async def result(self) -> RawImage:
        """See `Ticket`."""
        try:
            return await self._entry.result
        except asyncio.CancelledError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """See `Ticket`."""
        self._cancel(self._entry)
