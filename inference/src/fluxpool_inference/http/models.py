"""`GET /v1/models` and `GET /v1/models/{id}`: the one model of this server."""

import time
from collections.abc import Sequence

from starlette.responses import Response

from fluxpool_inference.http.generation import model_not_found
from fluxpool_inference.http.replies import JsonReply
from fluxpool_inference.http.schemas import Model, ModelList


class Models:
    """The endpoints. They answer while the model is still loading: its name is known from the start."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._model = Model(id=names[0], created=int(time.time()))

    async def listing(self) -> Response:
        """All models."""
        return JsonReply(ModelList(data=[self._model]).model_dump())

    async def one(self, name: str) -> Response:
        """The model of that id, or alias. Raises NotFoundError."""
        if name not in self._names:
            raise model_not_found(name, self._names[0])
        return JsonReply(self._model.model_dump())
