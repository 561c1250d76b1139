"""The FluxPools of these tests.

The pace makes the tiny model as slow as a small GPU: far slower than two cores that also start other pods, so that it
is kept. With 4 steps per image:

    rows   a step takes   an image takes   images per second and pod
      1       0.36 s          1.44 s             0.69
      2       0.44 s          1.76 s             1.14
      8       0.92 s          3.68 s             2.17    the most there are

The load calls for one knob after the other, whatever the moments at which pods are scraped and decisions are made:

- `BATCH_CLIENTS` ask for one image after another, and a request leaves the pod's counts before it is answered: no more
  than 3 are ever in the pod. It rests at 1 row, since even there an image takes longer than the latency target of 1 s.
  Of 3 requests 2 then wait for a row: the batch size rises. It takes 5 to need a replica, since ceil(n / 4) is 1 up to
  the queue depth of 4: none is needed, at any batch size.
- `REPLICAS_RATE` comes at even intervals and is more than one pod carries at all, 3.0 against 2.17: the fifth request
  comes after 1.7 s, before the first is answered (2.3 s), and 5 or more are in the pod from then on. Two pods carry it.

`SHARE_RATE` is of images of one step, of which two pods make 17.4 per second.

The rest follows from the mean image of the last 5 minutes. At 8 rows it takes 0.92 / 0.36 times as long as alone, which
meets the target only where the mean is below 0.39 s. An image of one step is one of at least 0.36 s, and one of 4 steps
among 30 is enough to lift the mean above that: in the evening too the batch size comes back below 8 rows.
"""

from typing import Any, Final

NAMESPACE: Final = "e2e"
POOL: Final = "tiny"
MODEL: Final = "tiny-flux"
PACE: Final = "0.28,0.08"
STEPS: Final = 4
SIZE: Final = "64x64"
MAX_REPLICAS: Final = 2
FULL_BATCH_SIZE: Final = 8
SCALE_DOWN_SECONDS: Final = 15

BATCH_CLIENTS: Final = 3
REPLICAS_RATE: Final = 3.0
SHARE_RATE: Final = 16.0

TROUBLE: Final = "e2e-trouble"
"""The namespace of the pools that cannot work."""
SPARE: Final = "e2e.fluxpool.dev/gpu"
"""A resource of the node that nothing else asks for: their GPUs."""
SPARES: Final = 3
"""One each for the three pools whose first pods find a node, and none for the rollout of one of them."""


def spec(model: str) -> dict[str, Any]:
    """The spec of the pool that works, but for what the platform adds."""
    return {
        "model": {"source": model, "precision": "float32"},
        "serving": {
            "drainSeconds": 120,
            "maxQueueSeconds": 60,
            "defaultSize": SIZE,
            "limits": {"minSide": 64, "maxPixels": 256 * 256, "maxSteps": 8},
        },
        "scaling": {
            "maxReplicas": MAX_REPLICAS,
            "targets": {"queueDepthPerReplica": 4, "latencySeconds": 1},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": SCALE_DOWN_SECONDS}},
        },
        "rollout": {"maxSurge": 1},
        "template": {"resources": {"requests": {"cpu": "100m"}}, "env": environment()},
    }


def environment(**more: str) -> list[dict[str, str]]:
    """The variables of its pods."""
    ours = {"FLUXPOOL_PACE": PACE, "FLUXPOOL_SERVED_MODEL_NAME": MODEL, "FLUXPOOL_TORCH_THREADS": "1"}
    return [{"name": name, "value": value} for name, value in {**ours, **more}.items()]


def broken(model: str, **changes: Any) -> dict[str, Any]:
    """The spec of a pool that cannot work: its Python does not start, unless the changes break something before that.

    Args:
        model: where a model would be.
        changes: fields of the spec.
    """
    return {
        "model": {"source": model},
        "scaling": {"mode": "Manual"},
        "replicas": 1,
        "gpu": {"resourceName": SPARE},
        "template": {"env": [NO_PYTHON]},
        **changes,
    }


NO_PYTHON: Final = {"name": "PYTHONHOME", "value": "/nowhere"}
"""With it Python ends at once, with a fatal error and without a termination message."""
