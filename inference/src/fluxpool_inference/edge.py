"""Makes the HTTP side of one server and joins it to its core: the one place that knows all parts."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp

from fluxpool_inference.core import Core
from fluxpool_inference.encode import Encoder
from fluxpool_inference.engine import StartError, StartFailure
from fluxpool_inference.http.admin import Admin, token_from_file
from fluxpool_inference.http.apps import admin_app, api_app
from fluxpool_inference.http.generation_fields import Bounds
from fluxpool_inference.http.health import Health
from fluxpool_inference.http.images import Images
from fluxpool_inference.http.models import Models
from fluxpool_inference.servers import Servers
from fluxpool_inference.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Edge:
    """One server's; nothing of it listens yet. `admin` is None without an admin token."""

    encoder: Encoder
    servers: Servers
    api: ASGIApp
    admin: ASGIApp | None


def build_edge(settings: ServeSettings, core: Core) -> Edge:
    """Make all parts. Raises StartError for an admin token file without a token."""
    token = _admin_token(settings)
    engine, metrics, readiness = core.engine, core.metrics, core.readiness
    encoder = Encoder(settings.encoder_threads)
    images = Images(
        engine, encoder, metrics, readiness, bounds=_bounds(settings), max_body_bytes=settings.max_body_bytes
    )
    return Edge(
        encoder=encoder,
        servers=Servers(),
        api=api_app(
            images,
            Models(settings.model_names),
            Health(readiness, metrics),
            ends_connection=lambda: settings.connection_close or readiness.draining,
        ),
        admin=admin_app(Admin(engine, readiness, settings.model), token) if token else None,
    )


def _bounds(settings: ServeSettings) -> Bounds:
    return Bounds(
        model_names=settings.model_names,
        max_steps=settings.max_steps,
        max_images=settings.max_images,
        min_side=settings.min_side,
        max_pixels=settings.max_pixels,
        default_size=settings.default_size,
        image_formats=settings.image_formats,
        max_prompt_chars=settings.max_prompt_chars,
    )


def _admin_token(settings: ServeSettings) -> Callable[[], str] | None:
    if settings.admin_token:
        value = settings.admin_token.get_secret_value()
        return lambda: value
    if settings.admin_token_file:
        read = token_from_file(settings.admin_token_file)
        if not read():
            raise StartError(
                StartFailure.INVALID_CONFIGURATION, f"admin_token_file: {settings.admin_token_file} holds no token."
            )
        return read
    return None
