"""The names that operator and inference share on the wire; `docs/contract.md` is the page, held equal by a test.

Standard library only, and nothing else of ours: the other side keeps a module of the same shape.
"""

from typing import Final

# ---- labels and names of the children -------------------------------------------------------------------------------

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_POOL: Final = "fluxpool.dev/pool"
"""The only selector of Deployment, Service and PodDisruptionBudget."""

NAME: Final = "fluxpool"
COMPONENT: Final = "inference"
MANAGED_BY: Final = "fluxpool-operator"

ADMIN_SECRET_SUFFIX: Final = "-admin"  # noqa: S105 - part of a name
ADMIN_SECRET_KEY: Final = "token"  # noqa: S105 - a name as well
POOL_NAME_MAX_LENGTH: Final = 52
"""A DNS-1035 label of at most this length, so that every derived name fits."""

# ---- ports and paths ------------------------------------------------------------------------------------------------

HTTP_PORT_NAME: Final = "http"
HTTP_PORT: Final = 8000
ADMIN_PORT_NAME: Final = "admin"
ADMIN_PORT: Final = 8001
SERVICE_PORT: Final = 80

PATH_LIVE: Final = "/healthz"
PATH_READY: Final = "/readyz"
PATH_METRICS: Final = "/metrics"
PATH_ADMIN_STATUS: Final = "/admin/status"
PATH_ADMIN_BATCH_SIZE: Final = "/admin/batch-size"

MODEL_CACHE_DIR: Final = "/var/cache/fluxpool"
MODEL_CACHE_VOLUME: Final = "model-cache"
ADMIN_TOKEN_FILE: Final = "/var/run/fluxpool/admin/token"  # noqa: S105 - a path
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"

# ---- environment of an inference pod --------------------------------------------------------------------------------

ENV_MODEL: Final = "FLUXPOOL_MODEL"
ENV_REVISION: Final = "FLUXPOOL_REVISION"
ENV_DTYPE: Final = "FLUXPOOL_DTYPE"
ENV_HF_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of a variable
ENV_HF_HOME: Final = "HF_HOME"
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

RESERVED_ENVIRONMENT: Final = frozenset({ENV_NAMESPACE, ENV_POOL, ENV_POD_UID, ENV_ADMIN_TOKEN_FILE, ENV_DRAIN_SECONDS})
"""What `spec.template.env` cannot set: identity, the admin token, and the time the grace period is made from."""

# ---- end of a pod ---------------------------------------------------------------------------------------------------

PRE_STOP_SECONDS: Final = 5
"""kube-proxies and load balancers learn of the end first."""
GRACE_MARGIN_SECONDS: Final = 10
START_ERROR_EXIT_CODE: Final = 3
START_ERRORS: Final = ("ModelLoadFailed", "InvalidConfiguration", "DeviceUnavailable")
"""Reasons in the JSON line `{"reason", "message"}` of the termination message."""

# ---- metrics of an inference pod ------------------------------------------------------------------------------------

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
UTILIZATION_SOURCES: Final = ("nvml", "engine_busy")

# ---- metrics of the operator that others read -----------------------------------------------------------------------

METRIC_DESIRED_REPLICAS: Final = "fluxpool_desired_replicas"
METRIC_DESIRED_BATCH_SIZE: Final = "fluxpool_desired_batch_size"
METRIC_CURRENT_REPLICAS: Final = "fluxpool_current_replicas"
