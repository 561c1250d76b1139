"""The two apps: the API with its probes, and the admin API on a port of its own. Each documents itself.

Handlers read and check bodies themselves, so that every error has OpenAI's shape and names the nearest field, and they
reply with bytes that are ready to be sent: FastAPI routes and documents.
"""

from collections.abc import Callable

from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

from fluxpool_inference import contract
from fluxpool_inference.errors import (
    ApiError,
    BodyTimeoutError,
    BodyTooLargeError,
    GenerationFailedError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from fluxpool_inference.http.admin import Admin, BearerAuth
from fluxpool_inference.http.context import RequestContext
from fluxpool_inference.http.health import Health
from fluxpool_inference.http.images import Images
from fluxpool_inference.http.models import Models
from fluxpool_inference.http.openapi import GENERATION_HEADERS, describe_body, errors, images_reply, reply
from fluxpool_inference.http.replies import api_error, http_error, internal_error
from fluxpool_inference.http.schemas import AdminStatus, BatchSize, ImagesResponse, Model, ModelList, ProbeReply
from fluxpool_inference.version import VERSION

_BODY_ERRORS = (InvalidRequestError, BodyTimeoutError, BodyTooLargeError, UnsupportedMediaTypeError)


def api_app(images: Images, models: Models, health: Health, *, ends_connection: Callable[[], bool]) -> ASGIApp:
    """The app of the http port."""
    app = _app("fluxpool", "OpenAI's Images API, served by FLUX.")
    _add_images(app, images)
    _add_models(app, models)
    _add_health(app, health)
    describe_body(app.openapi(), contract.PATH_IMAGES, "POST", images.schema())
    return RequestContext(_with_head(app), ends_connection=ends_connection)


def admin_app(admin: Admin, token: Callable[[], str]) -> ASGIApp:
    """The app of the admin port. Without the token it tells nothing, not even which paths there are."""
    app = _app("fluxpool admin", "What the operator reads and sets in one pod.")
    documented_only = [Depends(HTTPBearer(auto_error=False))]  # BearerAuth below is what lets nobody in
    app.add_api_route(
        contract.PATH_ADMIN_STATUS,
        admin.status,
        operation_id="getStatus",
        summary="What the engine does now",
        description="Batch size and its bounds, what waits and runs, measured step times, worker processes.",
        dependencies=documented_only,
        responses=reply(AdminStatus, "The state at this moment.") | errors(UnauthorizedError),
    )
    app.add_api_route(
        contract.PATH_ADMIN_BATCH_SIZE,
        admin.set_batch_size,
        methods=["PUT"],
        operation_id="setBatchSize",
        summary="Set the rows per denoising step",
        description="Holds from the next step on; nothing is restarted.",
        dependencies=documented_only,
        responses=reply(BatchSize, "What holds now.") | errors(UnauthorizedError, *_BODY_ERRORS),
    )
    describe_body(app.openapi(), contract.PATH_ADMIN_BATCH_SIZE, "PUT", admin.batch_size_schema())
    return RequestContext(BearerAuth(_with_head(app), token), ends_connection=lambda: False)


def _add_images(app: FastAPI, images: Images) -> None:
    app.add_api_route(
        contract.PATH_IMAGES,
        images.generate,
        methods=["POST"],
        tags=["Images"],
        operation_id="createImage",
        summary="Make images from a prompt",
        description="As OpenAI's endpoint of this path, with FLUX's own fields. All images of a request are admitted,"
        " or none. A client that goes away ends the work.",
        responses=images_reply(ImagesResponse)
        | errors(*_BODY_ERRORS, NotFoundError, OverloadedError, GenerationFailedError, UnavailableError),
        openapi_extra=GENERATION_HEADERS,
    )


def _add_models(app: FastAPI, models: Models) -> None:
    app.add_api_route(
        contract.PATH_MODELS,
        models.listing,
        tags=["Models"],
        operation_id="listModels",
        summary="List the models",
        description="Answers while the model is still loading.",
        responses=reply(ModelList, "The one model of this server."),
    )
    app.add_api_route(
        contract.PATH_MODELS + "/{name:path}",
        models.one,
        tags=["Models"],
        operation_id="retrieveModel",
        summary="One model by its id or alias",
        description="Answers while the model is still loading.",
        responses=reply(Model, "The model.") | errors(NotFoundError),
    )


def _add_health(app: FastAPI, health: Health) -> None:
    app.add_api_route(
        contract.PATH_LIVE,
        health.live,
        tags=["Probes"],
        operation_id="live",
        summary="Whether the process should go on",
        description="200 while a worker process lives or is being started.",
        responses=reply(ProbeReply, "It lives.") | {503: {"model": ProbeReply, "description": "Restart it."}},
    )
    app.add_api_route(
        contract.PATH_READY,
        health.ready,
        tags=["Probes"],
        operation_id="ready",
        summary="Whether requests are taken",
        description="200 only when the model is loaded and warmed and the server is not draining.",
        responses=reply(ProbeReply, "It takes requests.") | {503: {"model": ProbeReply, "description": "Why not."}},
    )
    app.add_api_route(
        contract.PATH_METRICS,
        health.metrics,
        tags=["Probes"],
        operation_id="metrics",
        summary="Metrics in Prometheus' text format",
        description="Every series exists from the start.",
        response_class=PlainTextResponse,
    )


def _app(title: str, description: str) -> FastAPI:
    # FastAPI's pages of documentation load scripts from a CDN; the document itself is enough for every tool.
    return FastAPI(
        title=title,
        description=description,
        version=VERSION,
        openapi_url=contract.PATH_OPENAPI,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={ApiError: api_error, HTTPException: http_error, Exception: internal_error},
    )


def _with_head(app: FastAPI) -> FastAPI:
    """The app, documented already, with HEAD wherever there is GET: FastAPI would document each as an operation."""
    for route in app.routes:
        if isinstance(route, Route) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")
    return app
