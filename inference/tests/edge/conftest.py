from collections.abc import AsyncIterator

import pytest
from edge_client import Client, listening, make_client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = await make_client()
    yield made
    made.edge.encoder.close()


@pytest.fixture
async def base_url(client: Client) -> AsyncIterator[str]:
    async with listening(client) as url:
        yield url
