"""The demo's numbers: the pool, its pace, and the load.

The tiny model makes an image in about 30 ms of CPU; its steps are held to `A + C x rows` seconds, so that one pod has
the speed of a slow GPU and further pods add capacity although all share the machine's cores. With 4 steps per image:

    rows   a step takes   an image takes   images per second and pod
      1       0.36 s          1.44 s             0.69
      2       0.44 s          1.76 s             1.14    the most rows that keep the latency target of 2 s: rest
      8       0.92 s          3.68 s             2.17    the most there are

The load calls for each knob in turn. 1.3 images per second are more than a pod carries at 2 rows but not at 8: the
batch size rises, and no replica is needed. 3.2 are more than a pod carries at all: replicas follow, and what queues in
the first pod until they are ready is soon made. Four pods then carry 6.5 as well.
"""

from typing import Any, Final

from fluxpool_demo.load import ImageJob
from fluxpool_demo.schedule import Schedule, Step

NAMESPACE: Final = "fluxpool-demo"
POOL: Final = "tiny"
MODEL: Final = "tiny-flux"
PACE: Final = (0.28, 0.08)
STEPS: Final = 4
SIZE: Final = "64x64"
MAX_REPLICAS: Final = 4
LATENCY_SECONDS: Final = 2
QUEUE_DEPTH: Final = 5
RESTING_BATCH_SIZE: Final = 2
"""The most rows at which an image takes no longer than the target."""
SCALE_DOWN_SECONDS: Final = 25

SCHEDULE: Final = Schedule(
    (Step("calm", 10, 0.5), Step("step up", 20, 1.3), Step("step up", 40, 3.2), Step("step up and hold", 35, 6.5))
)
SECONDS_TO_COME_DOWN: Final = 85.0
"""After the load: window, preStop, drain, and the batch size's own window."""

FIRST_IMAGES: Final = 6
PICTURES: Final = 24

SUBJECTS: Final = (
    "a lighthouse at dusk",
    "a fox in fresh snow",
    "a bowl of lemons",
    "a tram in the rain",
    "a red bicycle",
    "a greenhouse at night",
)


def spec(model: str) -> dict[str, Any]:
    """The FluxPool's spec, but for what the platform adds.

    Args:
        model: where the pods find the tiny model.
    """
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
            "targets": {"queueDepthPerReplica": QUEUE_DEPTH, "latencySeconds": LATENCY_SECONDS},
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": SCALE_DOWN_SECONDS}},
        },
        "template": {
            "resources": {"requests": {"cpu": "100m"}},
            "env": [
                {"name": "FLUXPOOL_PACE", "value": ",".join(str(seconds) for seconds in PACE)},
                {"name": "FLUXPOOL_SERVED_MODEL_NAME", "value": MODEL},
                {"name": "FLUXPOOL_TORCH_THREADS", "value": "1"},
            ],
        },
    }


def job(number: int) -> ImageJob:
    """The request with this number: subjects in turn, a seed of its own."""
    return ImageJob(model=MODEL, prompt=SUBJECTS[number % len(SUBJECTS)], steps=STEPS, seed=number, size=SIZE)
