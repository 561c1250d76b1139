"""`/openapi.json` of both ports, held to what the server takes and gives."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from edge_client import Client, make_client
from jsonschema import Draft202012Validator

from fluxpool_inference import contract
from fluxpool_inference.engine import Rejected, RejectReason, WorkerState

GENERATE = contract.PATH_IMAGES
Document = dict[str, Any]


async def api_document(client: Client) -> Document:
    return (await client.api.get("/openapi.json")).json()


async def admin_document(client: Client) -> Document:
    return (await client.admin.get("/openapi.json")).json()


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def body_schema(document: Document, path: str, method: str) -> Document:
    return document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]


def validator(document: Document, schema: Document) -> Draft202012Validator:
    """Of a schema of the document, whose references lead into the document's components."""
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator({**schema, "components": document["components"]})


async def test_the_documents_have_every_path_of_the_contract(client: Client) -> None:
    api = {(path, method) for path, method, _ in operations(await api_document(client))}
    assert api == {
        (contract.PATH_IMAGES, "post"),
        (contract.PATH_MODELS, "get"),
        (contract.PATH_MODELS + "/{name}", "get"),
        (contract.PATH_LIVE, "get"),
        (contract.PATH_READY, "get"),
        (contract.PATH_METRICS, "get"),
    }
    admin = {(path, method) for path, method, _ in operations(await admin_document(client))}
    assert admin == {(contract.PATH_ADMIN_STATUS, "get"), (contract.PATH_ADMIN_BATCH_SIZE, "put")}


async def test_every_operation_has_a_name_of_its_own_a_summary_and_a_described_reply(client: Client) -> None:
    for document in (await api_document(client), await admin_document(client)):
        assert document["openapi"].startswith("3.1")
        ids = [operation["operationId"] for _, _, operation in operations(document)]
        assert len(set(ids)) == len(ids)
        for _, _, operation in operations(document):
            assert operation["summary"]
            assert operation["responses"]["200"]["content"]
            assert all(reply["description"] for reply in operation["responses"].values())
            assert "422" not in operation["responses"]  # FastAPI's own, of another shape


async def test_the_admin_document_needs_the_token_and_says_so(client: Client) -> None:
    response = await client.admin.get("/openapi.json", headers={"authorization": ""})
    assert response.status_code == 401
    assert "batch" not in response.text
    document = await admin_document(client)
    (scheme,) = document["components"]["securitySchemes"].items()
    assert scheme[1]["scheme"] == "bearer"
    for _, _, operation in operations(document):
        assert operation["security"] == [{scheme[0]: []}]
    assert "security" not in json.dumps(await api_document(client))


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_there_is_no_page_that_loads_scripts_from_elsewhere(client: Client, path: str) -> None:
    for http in (client.api, client.admin):
        response = await http.get(path)
        assert (response.status_code, response.json()["error"]["code"]) == (404, "not_found")


def candidates(schema: Document) -> list[object]:
    """Values at and beyond every bound of a field's schema, and one of every type."""
    values: list[object] = [None, True, False, "", " ", "x", "auto", "64x64", -1, 0, 1, 1.5, 10**30, [], {}]
    values.extend(schema.get("enum", ()))
    for bound in ("minimum", "maximum"):
        if bound in schema:
            values.extend((schema[bound] - 1, schema[bound], schema[bound] + 1))
    if "maxLength" in schema:
        values.extend(("x" * schema["maxLength"], "x" * (schema["maxLength"] + 1)))
    return values


async def test_each_field_takes_exactly_what_is_documented(client: Client) -> None:
    document = await api_document(client)
    schema = body_schema(document, GENERATE, "post")
    check = validator(document, schema)
    assert len(schema["properties"]) > 20
    assert schema["properties"]["seed"]["maximum"] == 2**64 - 1
    for name, field in schema["properties"].items():
        assert field["description"]
        for value in candidates(field):
            body = {"prompt": "a", "size": "64x64", "output_format": "jpeg", name: value}
            response = await client.api.post(GENERATE, json=body)
            another_model = response.status_code == 404  # of the right type
            assert check.is_valid(body) == (response.status_code == 200 or another_model), (name, str(value)[:50])


@pytest.mark.parametrize("negative_prompt", [..., None, "", "a leaf", 1])
@pytest.mark.parametrize("true_cfg_scale", [..., None, 1, 1.0, 1.5, 100, 0, "2"])
async def test_a_negative_prompt_and_its_scale_are_taken_as_documented(
    client: Client, negative_prompt: object, true_cfg_scale: object
) -> None:
    document = await api_document(client)
    check = validator(document, body_schema(document, GENERATE, "post"))
    fields = {"negative_prompt": negative_prompt, "true_cfg_scale": true_cfg_scale}
    body = {"prompt": "a", "size": "64x64", **{name: value for name, value in fields.items() if value is not ...}}
    response = await client.api.post(GENERATE, json=body)
    assert check.is_valid(body) == (response.status_code == 200)


async def test_a_field_that_is_not_documented_is_refused(client: Client) -> None:
    check = validator(document := await api_document(client), body_schema(document, GENERATE, "post"))
    body = {"prompt": "a", "strength": 0.5}
    assert not check.is_valid(body)
    assert (await client.api.post(GENERATE, json=body)).status_code == 400


async def test_the_documented_bounds_are_this_servers() -> None:
    client = await make_client(max_images=2, max_steps=9, image_formats="webp,png", max_prompt_chars=77)
    fields = body_schema(await api_document(client), GENERATE, "post")["properties"]
    assert fields["n"]["maximum"] == 2
    assert fields["num_inference_steps"]["maximum"] == 9
    assert fields["output_format"] == fields["output_format"] | {"enum": ["webp", "png", None], "default": "webp"}
    assert fields["prompt"]["maxLength"] == fields["negative_prompt"]["maxLength"] == 77
    assert "`acme/flux`" in fields["model"]["description"]
    assert "at most 262144 pixels" in fields["size"]["description"]
    assert "is 128x128" in fields["size"]["description"]


async def test_the_batch_size_takes_exactly_what_is_documented() -> None:
    client = await make_client(batch_size_min=2, batch_size_max=9)
    document = await admin_document(client)
    schema = body_schema(document, contract.PATH_ADMIN_BATCH_SIZE, "put")
    assert schema["properties"]["batch_size"]["minimum"] == 2
    check = validator(document, schema)
    bodies: list[object] = [{"batch_size": value} for value in candidates(schema["properties"]["batch_size"])]
    for body in [*bodies, {}, [], {"batch_size": 4, "now": True}]:
        response = await client.admin.put(contract.PATH_ADMIN_BATCH_SIZE, json=body)
        assert check.is_valid(body) == (response.status_code == 200), body


def described(document: Document, path: str, response: httpx.Response) -> Document:
    """What the document says of a response with its status; `default` where it names none."""
    replies = document["paths"][path][response.request.method.lower()]["responses"]
    return replies.get(str(response.status_code)) or replies["default"]


def assert_as_described(document: Document, path: str, response: httpx.Response) -> None:
    reply = described(document, path, response)
    validator(document, reply["content"]["application/json"]["schema"]).validate(response.json())
    for name in reply.get("headers", {}):
        assert name in response.headers or name.endswith("truncated-tokens")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"prompt": "a b c d e f g h i j", "n": 2, "size": "64x64"}', 200),
        (b'{"prompt": "a", "output_format": "webp"}', 200),
        (b"{", 400),
        (b'{"prompt": "a", "n": 0}', 400),
        (b'{"prompt": "a", "model": "b"}', 404),
        (b'{"prompt": "' + b"a" * 2_000_000 + b'"}', 413),
        (b'{"prompt": "fail"}', 500),
    ],
    ids=["images", "webp", "json", "field", "model", "large", "failed"],
)
async def test_replies_with_images_or_errors_are_as_described(client: Client, body: bytes, status: int) -> None:
    document = await api_document(client)
    response = await client.api.post(GENERATE, content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert str(status) in document["paths"][GENERATE]["post"]["responses"]
    assert_as_described(document, GENERATE, response)


async def test_refusals_are_as_described(client: Client) -> None:
    document = await api_document(client)
    client.engine.rejection = Rejected(RejectReason.QUEUE_FULL, 3, "The queue is full.")
    refused = await client.generate()
    assert refused.status_code == 429
    client.core.readiness.start_draining()
    draining = await client.generate()
    assert draining.status_code == 503
    for response in (refused, draining):
        assert "retry-after" in described(document, GENERATE, response)["headers"]
        assert_as_described(document, GENERATE, response)


async def test_models_probes_and_status_are_as_described(client: Client) -> None:
    document = await api_document(client)
    for path in (contract.PATH_MODELS, contract.PATH_LIVE, contract.PATH_READY):
        assert_as_described(document, path, await client.api.get(path))
    one = contract.PATH_MODELS + "/{name}"
    assert_as_described(document, one, await client.api.get("/v1/models/acme/flux"))
    assert_as_described(document, one, await client.api.get("/v1/models/none"))
    client.engine.worker_state = WorkerState.STOPPED
    for path in (contract.PATH_LIVE, contract.PATH_READY):
        response = await client.api.get(path)
        assert response.status_code == 503
        assert_as_described(document, path, response)
    metrics = await client.api.get(contract.PATH_METRICS)
    (content_type,) = described(document, contract.PATH_METRICS, metrics)["content"]
    assert metrics.headers["content-type"].startswith(content_type)
    admin = await admin_document(client)
    assert_as_described(admin, contract.PATH_ADMIN_STATUS, await client.admin.get(contract.PATH_ADMIN_STATUS))
    paced = await make_client(pace="0.5,0.25")
    assert_as_described(admin, contract.PATH_ADMIN_STATUS, await paced.admin.get(contract.PATH_ADMIN_STATUS))
    wrong = await client.admin.get(contract.PATH_ADMIN_STATUS, headers={"authorization": "Bearer no"})
    assert_as_described(admin, contract.PATH_ADMIN_STATUS, wrong)
