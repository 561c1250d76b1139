"""The two apps: the API with its probes, and the admin API on a port of its own."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, ExceptionHandler

from fluxpool_inference import contract
from fluxpool_inference.errors import ApiError
from fluxpool_inference.http.admin import Admin, BearerAuth
from fluxpool_inference.http.context import RequestContext
from fluxpool_inference.http.health import Health
from fluxpool_inference.http.images import Images
from fluxpool_inference.http.models import Models
from fluxpool_inference.http.replies import api_error, http_error, internal_error

_EXCEPTION_HANDLERS: dict[type[Exception], ExceptionHandler] = {
    ApiError: api_error,
    HTTPException: http_error,
    Exception: internal_error,
}


def api_app(images: Images, models: Models, health: Health, *, connection_close: bool) -> ASGIApp:
    """The app of the http port."""
    routes = [
        Route(contract.PATH_IMAGES, images.generate, methods=["POST"]),
        Route(contract.PATH_MODELS, models.listing),
        Route(contract.PATH_MODELS + "/{name:path}", models.one),
        Route(contract.PATH_LIVE, health.live),
        Route(contract.PATH_READY, health.ready),
        Route(contract.PATH_METRICS, health.metrics),
    ]
    return RequestContext(_app(routes), connection_close=connection_close)


def admin_app(admin: Admin, token: Callable[[], str]) -> ASGIApp:
    """The app of the admin port. Without the token it tells nothing, not even which paths there are."""
    routes = [
        Route(contract.PATH_ADMIN_STATUS, admin.status),
        Route(contract.PATH_ADMIN_BATCH_SIZE, admin.set_batch_size, methods=["PUT"]),
    ]
    return RequestContext(BearerAuth(_app(routes), token), connection_close=False)


def _app(routes: list[Route]) -> Starlette:
    app = Starlette(routes=routes, exception_handlers=_EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False
    return app
