"""`GET /v1/models` and `GET /v1/models/{id}`: the one model of this server."""

import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from fluxpool_inference.http.generation import model_not_found
from fluxpool_inference.http.replies import JsonReply


class Models:
    """The endpoints. They answer while the model is still loading: its name is known from the start."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._created = int(time.time())

    async def listing(self, _request: Request) -> Response:
        """All models."""
        return JsonReply({"object": "list", "data": [self._model()]})

    async def one(self, request: Request) -> Response:
        """The model of that id, or alias. Raises NotFoundError."""
        name = request.path_params["name"]
        if name not in self._names:
            raise model_not_found(name, self._names)
        return JsonReply(self._model())

    def _model(self) -> dict[str, object]:
        return {"id": self._names[0], "object": "model", "created": self._created, "owned_by": "fluxpool"}
