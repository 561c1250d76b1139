"""Runs other programs (helm, kubectl, fluxpool-cluster) and says what they said when they fail."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fluxpool_demo.errors import CommandError

LAST_LINES = 8


async def run(*arguments: str, text: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a program to its end and return its output.

    Args:
        arguments: the program and its arguments.
        text: what it reads; nothing if None.
        environment: variables on top of our own.

    Raises:
        CommandError: it is not there, or ended with an error.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.DEVNULL if text is None else asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(environment or {})},
        )
    except FileNotFoundError as error:
        raise CommandError(f"{arguments[0]} is not on the PATH") from error
    async with ended(process):
        output, errors = await process.communicate(None if text is None else text.encode())
    if process.returncode:
        said = (errors.decode(errors="replace") + output.decode(errors="replace")).strip().splitlines()[-LAST_LINES:]
        raise CommandError(f"`{' '.join(arguments)}` ended with {process.returncode}: " + "\n".join(said))
    return output.decode()


@asynccontextmanager
async def ended(process: asyncio.subprocess.Process) -> AsyncIterator[asyncio.subprocess.Process]:
    """Leave no process behind, also when cancelled."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
