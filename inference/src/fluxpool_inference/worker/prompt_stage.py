"""Prompts to embeddings, remembered ones first, and each image's noise: what is done before its first step."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fluxpool_inference.worker.attempts import Attempts, Failure
from fluxpool_inference.worker.denoiser import Denoiser
from fluxpool_inference.worker.image import Image
from fluxpool_inference.worker.prompts import PromptCache
from fluxpool_inference.worker.text import as_many_as, of_new_needs

if TYPE_CHECKING:  # the loop runs any model, also one without torch
    from fluxpool_inference.worker.trajectory import Conditioning

logger = logging.getLogger(__name__)


class PromptStage:
    """The cache of embeddings, and what fills it: by one forward, in one of the numbers `together` (see `text`)."""

    def __init__(self, model: Denoiser, attempts: Attempts, cache_bytes: int, together: Sequence[int]) -> None:
        self._model = model
        self._attempts = attempts
        self._prompts: PromptCache[Conditioning] = PromptCache(cache_bytes)
        self._together = together

    def sharing(self, images: list[Image]) -> list[Image]:
        """The first image, and if it needs prompts computed, others that need other ones, to share the forward."""
        tokens = images[0].bucket.text_tokens
        needs = [(image, self._prompts.missing(image.order.request.prompts, tokens)) for image in images]
        return as_many_as(of_new_needs(needs), self._together) if needs[0][1] else images[:1]

    def compute(self, images: list[Image]) -> "dict[str, Conditioning]":
        """The embeddings of missing prompts, but of one that is left alone, and of those of which a forward fails."""
        tokens = images[0].bucket.text_tokens
        missing = self._prompts.missing((prompt for image in images for prompt in image.order.request.prompts), tokens)
        computed: dict[str, Conditioning] = {}
        while len(together := as_many_as(missing[len(computed) :], self._together)) > 1:
            outcome = self._attempts.run(partial(self._model.encode, together, tokens))
            if isinstance(outcome, Failure):
                logger.warning("text encoding of %d prompts failed: %s", len(together), outcome.message)
                break
            computed.update(zip(together, outcome, strict=True))
        return computed

    def begin(self, image: Image, computed: "dict[str, Conditioning]") -> list[bool]:
        """Draw an image's noise, with the embeddings of its prompts.

        Returns of each prompt whether it was remembered; nothing if the image was given up.
        """
        request, hits = image.order.request, []
        embeddings: list[Conditioning] = []
        for prompt in request.prompts:
            found = self._embedding(image, prompt, computed)
            if found is None:
                return []
            embeddings.append(found[0])
            hits.append(found[1])
        work = partial(self._model.begin, request, image.bucket, *embeddings)
        trajectory = self._attempts.run_for(image, work, "text encoding")
        if trajectory is None:
            return []
        image.trajectory = trajectory
        image.encoded = True
        return hits

    def _embedding(
        self, image: Image, prompt: str, computed: "dict[str, Conditioning]"
    ) -> "tuple[Conditioning, bool] | None":
        """The embedding of a prompt, taken out of `computed`, else remembered (then True), else made alone.

        None if the image was given up.
        """
        tokens = image.bucket.text_tokens
        new = computed.pop(prompt, None)
        if new is None:
            if (remembered := self._prompts.get(prompt, tokens)) is not None:
                return remembered, True
            made = self._attempts.run_for(image, partial(self._model.encode, [prompt], tokens), "text encoding")
            if made is None:
                return None
            (new,) = made
        self._prompts.put(prompt, tokens, new)
        return new, False
