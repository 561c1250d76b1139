import asyncio
import getpass
from typing import Any

import pytest

from fluxpool_operator.cluster import kinds
from fluxpool_operator.controller.view import View
from fluxpool_operator.controller.watches import Watches


async def no_login() -> Any:
    await asyncio.Event().wait()


async def test_watching_begins_as_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under any number (runAsUser), also one that the image's /etc/passwd does not know."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr(getpass, "getuser", nameless)
    watches = Watches(View(kinds.CHILDREN), add=lambda _: None, login=no_login, on_event=lambda *_: None)
    tasks = await watches.start([])
    assert tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
