"""The environment of an inference pod, as docs/contract.md lists it."""

from typing import Any

from fluxpool_operator import contract
from fluxpool_operator.api import FluxPool
from fluxpool_operator.resources.identity import Manifest


def environment(pool: FluxPool) -> list[Manifest]:
    """Variables of the inference container, ours first. The user's win, except over `contract.RESERVED_ENVIRONMENT`.

    The batch size is not here: a change of it must restart nothing.
    """
    variables = {variable["name"]: variable for variable in _ours(pool)}
    for variable in pool.spec.template.env or ():
        if variable.name not in contract.RESERVED_ENVIRONMENT:
            variables[variable.name] = variable.to_wire()
    return list(variables.values())


def _ours(pool: FluxPool) -> list[Manifest]:
    model, serving = pool.spec.model, pool.spec.serving
    values: dict[str, Any] = {
        contract.ENV_MODEL: model.source,
        contract.ENV_REVISION: model.revision,
        contract.ENV_DTYPE: model.precision,
        contract.ENV_HF_HOME: contract.MODEL_CACHE_DIR,
        contract.ENV_ADMIN_TOKEN_FILE: contract.ADMIN_TOKEN_FILE,
        contract.ENV_DRAIN_SECONDS: serving.drain_seconds,
        contract.ENV_MAX_QUEUE_SECONDS: serving.max_queue_seconds,
        contract.ENV_MAX_WAITING: serving.max_waiting,
        contract.ENV_MAX_STEPS: serving.limits.max_steps,
        contract.ENV_MAX_IMAGES: serving.limits.max_images,
        contract.ENV_MIN_SIDE: serving.limits.min_side,
        contract.ENV_MAX_PIXELS: serving.limits.max_pixels,
        contract.ENV_DEFAULT_SIZE: serving.default_size,
        contract.ENV_IMAGE_FORMATS: ",".join(serving.image_formats),
        contract.ENV_GPU_COUNT: pool.spec.gpu.count,
    }
    plain = [{"name": name, "value": str(value)} for name, value in values.items() if value is not None]
    return plain + _from_the_pod() + _hub_token(pool)


def _from_the_pod() -> list[Manifest]:
    """The identity of every series of metrics, by the downward API."""
    paths = {
        contract.ENV_NAMESPACE: "metadata.namespace",
        contract.ENV_POOL: f"metadata.labels['{contract.LABEL_POOL}']",
        contract.ENV_POD_UID: "metadata.uid",
    }
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]


def _hub_token(pool: FluxPool) -> list[Manifest]:
    reference = pool.spec.model.token_secret_ref
    if reference is None:
        return []
    key = {"name": reference.name, "key": reference.key}
    return [{"name": contract.ENV_HF_TOKEN, "valueFrom": {"secretKeyRef": key}}]
