"""The one model of a server: how it is listed, and by which names a request may call it."""

from edge_client import Client, error, make_client


async def test_the_models_are_listed_and_found_by_id(client: Client) -> None:
    listing = (await client.api.get("/v1/models")).json()
    assert listing["object"] == "list"
    (model,) = listing["data"]
    assert model["id"] == "acme/flux"
    assert (await client.api.get("/v1/models/acme/flux")).json() == model
    assert error(await client.api.get("/v1/models/other"), 404)["code"] == "model_not_found"


async def test_another_model_is_a_404(client: Client) -> None:
    found = error(await client.generate(model="dall-e-3"), 404)
    assert (found["code"], found["param"]) == ("model_not_found", "model")
    assert found["message"] == "The model 'dall-e-3' does not exist; this server serves 'acme/flux'."


async def test_aliases_of_the_model_are_served() -> None:
    client = await make_client(served_model_name="flux, gpt-image-1")
    assert (await client.generate(model="gpt-image-1")).status_code == 200
    assert (await client.generate(model="flux")).status_code == 200
    error(await client.generate(model="acme/flux"), 404)
    assert (await client.api.get("/v1/models")).json()["data"][0]["id"] == "flux"
