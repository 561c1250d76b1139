"""The names that inference and operator share on the wire; `docs/contract.md` is the page.

Standard library only, and nothing else of ours: the other side keeps a module of the same shape, and `tests/contract`
holds all three equal. A name that occurs in both modules is spelled the same in both.
"""

from typing import Final

# ---- ports and paths ------------------------------------------------------------------------------------------------

HTTP_PORT: Final = 8000
ADMIN_PORT: Final = 8001

PATH_IMAGES: Final = "/v1/images/generations"
PATH_MODELS: Final = "/v1/models"
PATH_LIVE: Final = "/healthz"
PATH_READY: Final = "/readyz"
PATH_METRICS: Final = "/metrics"
PATH_OPENAPI: Final = "/openapi.json"
PATH_ADMIN_STATUS: Final = "/admin/status"
PATH_ADMIN_BATCH_SIZE: Final = "/admin/batch-size"

TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"

# ---- environment of an inference pod --------------------------------------------------------------------------------

ENV_PREFIX: Final = "FLUXPOOL_"
"""Every option of `serve` has a variable of this prefix and its name; those below are set by the operator."""

ENV_MODEL: Final = "FLUXPOOL_MODEL"
ENV_REVISION: Final = "FLUXPOOL_REVISION"
ENV_DTYPE: Final = "FLUXPOOL_DTYPE"
ENV_HF_HOME: Final = "HF_HOME"
ENV_HF_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of a variable
ENV_ADMIN_TOKEN_FILE: Final = "FLUXPOOL_ADMIN_TOKEN_FILE"  # noqa: S105 - the name of a variable
ENV_DRAIN_SECONDS: Final = "FLUXPOOL_DRAIN_SECONDS"
ENV_MAX_QUEUE_SECONDS: Final = "FLUXPOOL_MAX_QUEUE_SECONDS"
ENV_MAX_WAITING: Final = "FLUXPOOL_MAX_WAITING"
ENV_MAX_STEPS: Final = "FLUXPOOL_MAX_STEPS"
ENV_MAX_IMAGES: Final = "FLUXPOOL_MAX_IMAGES"
ENV_MIN_SIDE: Final = "FLUXPOOL_MIN_SIDE"
ENV_MAX_PIXELS: Final = "FLUXPOOL_MAX_PIXELS"
ENV_DEFAULT_SIZE: Final = "FLUXPOOL_DEFAULT_SIZE"
ENV_IMAGE_FORMATS: Final = "FLUXPOOL_IMAGE_FORMATS"
ENV_NAMESPACE: Final = "FLUXPOOL_NAMESPACE"
ENV_POOL: Final = "FLUXPOOL_POOL"
ENV_POD_UID: Final = "FLUXPOOL_POD_UID"
ENV_GPU_COUNT: Final = "FLUXPOOL_GPU_COUNT"

# ---- end of a pod ---------------------------------------------------------------------------------------------------

START_ERROR_EXIT_CODE: Final = 3
START_ERRORS: Final = ("ModelLoadFailed", "InvalidConfiguration", "DeviceUnavailable")
"""Reasons in the JSON line `{"reason", "message"}` of the termination message."""

# ---- metrics --------------------------------------------------------------------------------------------------------

METRIC_LABEL_NAMESPACE: Final = "fluxpool_namespace"
METRIC_LABEL_POOL: Final = "fluxpool_pool"
METRIC_LABEL_POD_UID: Final = "fluxpool_pod_uid"

METRIC_READY: Final = "fluxpool_ready"
METRIC_BUILD_INFO: Final = "fluxpool_build_info"
METRIC_PROCESS_START_TIME: Final = "fluxpool_process_start_time_seconds"
METRIC_REQUESTS_WAITING: Final = "fluxpool_requests_waiting"
METRIC_REQUESTS_RUNNING: Final = "fluxpool_requests_running"
METRIC_QUEUED_WORK: Final = "fluxpool_queued_work_seconds"
METRIC_RUNNING_WORK: Final = "fluxpool_running_work_seconds"
METRIC_ADMITTED_WORK: Final = "fluxpool_admitted_work_seconds_total"
METRIC_ADMITTED_IMAGES: Final = "fluxpool_admitted_images_total"
METRIC_REJECTED_WORK: Final = "fluxpool_rejected_work_seconds_total"
METRIC_CANCELLED_WORK: Final = "fluxpool_cancelled_work_seconds_total"
METRIC_REJECTED: Final = "fluxpool_rejected_total"
METRIC_CANCELLED: Final = "fluxpool_cancelled_total"
METRIC_BATCH_ROWS: Final = "fluxpool_batch_rows"
METRIC_BATCH_SIZE_LIMIT: Final = "fluxpool_batch_size_limit"
METRIC_STEP_DURATION: Final = "fluxpool_step_duration_seconds"
METRIC_STEP_FIXED: Final = "fluxpool_step_fixed_seconds"
METRIC_STEP_PER_ROW: Final = "fluxpool_step_per_row_seconds"
METRIC_ENGINE_BUSY: Final = "fluxpool_engine_busy_seconds_total"
METRIC_GPU_UTILIZATION: Final = "fluxpool_gpu_utilization_ratio"
METRIC_GPU_MEMORY: Final = "fluxpool_gpu_memory_bytes"
METRIC_QUEUE_WAIT: Final = "fluxpool_queue_wait_seconds"
METRIC_QUEUE_WAIT_ESTIMATE: Final = "fluxpool_queue_wait_estimate_seconds"
METRIC_REQUEST_DURATION: Final = "fluxpool_request_duration_seconds"
METRIC_IMAGES: Final = "fluxpool_images_total"
METRIC_PROMPT_CACHE: Final = "fluxpool_prompt_cache_total"
METRIC_PACE_OVERRUNS: Final = "fluxpool_pace_overruns_total"
METRIC_PACE_STEPS: Final = "fluxpool_pace_steps_total"
METRIC_WORKER_READY: Final = "fluxpool_worker_ready"
METRIC_WORKER_DEATHS: Final = "fluxpool_worker_deaths_total"
METRIC_WORKER_WORK: Final = "fluxpool_worker_remaining_work_seconds"
METRIC_START_STAGE: Final = "fluxpool_start_stage_seconds"

WAIT_RESERVE: Final = 1.15
"""Admission counts on waits that are so many times as long as forecast."""
CAPACITY_REJECTIONS: Final = ("queue_full", "wait_too_long", "deadline")
"""`reason` of rejected work: only these are load."""
OTHER_REJECTIONS: Final = ("invalid_request", "draining", "not_ready")
CANCEL_STAGES: Final = ("queue", "encode", "denoise", "decode", "respond")
STEP_BUCKETS: Final = ("0.25", "0.5", "1", "2", "4")
"""Megapixels (2**20), at most."""
OUTCOMES: Final = ("ok", "failed", "cancelled")
IMAGE_FORMATS: Final = ("png", "jpeg", "webp")
CACHE_RESULTS: Final = ("hit", "miss")
UTILIZATION_SOURCES: Final = ("nvml", "engine_busy")
MEMORY_KINDS: Final = ("used", "total")
START_STAGES: Final = (
    "process",
    "import",
    "fetch",
    "load_text_encoders",
    "load_transformer",
    "load_vae",
    "compile",
    "warm_up",
)
