from collections.abc import AsyncIterator

import pytest
from edge_client import Client, make_client

from fluxpool_inference.servers import Servers


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = await make_client()
    yield made
    made.edge.encoder.close()


@pytest.fixture
async def base_url(client: Client) -> AsyncIterator[str]:
    """The client's edge on a real socket."""
    servers = Servers()
    address = servers.listen(client.edge.api, "127.0.0.1", 0)
    servers.start()
    yield f"http://{address}"
    await servers.close()
