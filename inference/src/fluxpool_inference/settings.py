"""Every option of `fluxpool-inference serve`: one typed class, read from flags, `FLUXPOOL_*` variables, defaults.

A field's description is its help text and its documentation; numbers with a unit name it. What only makes sense
together is checked here too, so a value that cannot work is refused before anything is loaded.
"""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from fluxpool_inference import contract
from fluxpool_inference.configuration import AttentionBackend, CompileMode, CudaGraphs, OffloadMode
from fluxpool_inference.engine import EngineConfig, Quantize
from fluxpool_inference.option_types import FormatsOption, NamesOption, PaceOption, QuantizeOption, SizeOption
from fluxpool_inference.size import Size

MEBI = 1024 * 1024
MAX_PIXELS_SUPPORTED = 4 * MEBI
"""The largest pixel class of `fluxpool_step_duration_seconds`; FLUX.1 was trained on at most half of it."""


class _Environment(EnvSettingsSource):
    """The environment without Kubernetes' service links.

    A Service named `fluxpool` puts `FLUXPOOL_PORT=tcp://10.0.0.1:80` into every pod of its namespace: not our option.
    """

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if not str(value).startswith("tcp://")}


class ServeSettings(BaseSettings):
    """The options of `serve`. Raises pydantic's ValidationError for a value out of bounds or of the wrong type."""

    model_config = SettingsConfigDict(
        env_prefix=contract.ENV_PREFIX, env_ignore_empty=True, frozen=True, extra="forbid", allow_inf_nan=False
    )

    # ---- model and device
    model: str = Field(min_length=1, description="directory with model_index.json, or hub id")
    revision: str | None = Field(default=None, description="hub revision; the hub's default if absent")
    dtype: Literal["bfloat16", "float16", "float32"] = Field(
        default="bfloat16", description="precision of weights and latents"
    )
    device: Literal["auto", "cuda", "cpu"] = Field(default="auto", description="auto takes the GPU where there is one")
    gpu_count: int = Field(default=1, ge=1, le=16, description="GPUs of the pod; each has a worker of its own")
    workers: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="worker processes, each with a copy of the model; gpu_count if absent, another number on cpu only",
    )
    watchdog_seconds: float = Field(
        default=120,
        gt=0,
        le=86_400,
        description="a worker that is silent for longer, and for 20 times what its work takes, is killed, in seconds",
    )
    torch_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of torch in each worker; what the cgroup allows, shared among them, if absent",
    )
    max_sequence_length: int | None = Field(
        default=None,
        ge=16,
        le=512,
        description="T5 tokens of a prompt that have an effect; the model's own if absent (512 dev, 256 schnell)",
    )
    prompt_cache_bytes: int = Field(
        default=256 * MEBI, ge=0, description="bound of the cache of prompt embeddings, in bytes of tensors"
    )
    cache_dir: Path | None = Field(
        default=None,
        description="folder for what a restarted server should know, such as what its steps cost; $HF_HOME/fluxpool if"
        " absent, and nothing is kept without HF_HOME",
    )
    quantize: QuantizeOption = Field(
        default=Quantize("none"),
        description="form of the transformer's weights: none, int8wo, int8, fp8, bnb-nf4, bnb-fp4 or gguf:FILE",
    )
    compile: CompileMode = Field(
        default="off", description="blocks compiles the transformer's blocks: a slower start, faster steps"
    )
    compile_cache: Path | None = Field(
        default=None,
        description="directory for what was compiled, for the next start; compile in the cache directory if absent",
    )
    cuda_graphs: CudaGraphs = Field(
        default="off",
        description="auto replays steps of the default size as CUDA graphs where that is measured to be faster",
    )
    attention: AttentionBackend | Literal["auto"] = Field(
        default="auto", description="how attention is computed; auto takes the best that works on the device"
    )
    tf32: bool = Field(
        default=False, description="let products of float32 round their factors to 10 bits on a GPU, for speed"
    )
    offload: OffloadMode = Field(
        default="none",
        description="keep the text encoders (text), or the transformer's blocks as well (group), in the host's memory",
    )
    vae_tiling: bool = Field(
        default=False, description="decode images above the VAE's own size in tiles: less memory, faint seams"
    )
    vae_channels_last: bool | None = Field(
        default=None, description="keep the VAE in channels-last layout; on a GPU only if absent"
    )
    pace: PaceOption | None = Field(
        default=None,
        description="A,C: hold each step until A + C x rows seconds have passed; stands in for a GPU's speed",
    )
    served_model_name: NamesOption = Field(
        default=(), description="comma separated: the model id that the API reports, then aliases; --model if absent"
    )

    # ---- batching and admission
    batch_size: int = Field(
        default=8, ge=1, description="rows per denoising step at start; changed live by the admin port"
    )
    batch_size_min: int = Field(default=1, ge=1, description="least batch size that the admin port accepts")
    batch_size_max: int = Field(default=64, ge=1, le=256, description="largest batch size that the admin port accepts")
    knee_gain: float = Field(
        default=0.03,
        ge=0,
        lt=1,
        description="steps grow no larger than where one more row lowers the time per row by this share; 0 is as many"
        " rows as the batch size allows, for a little more throughput and a longer time of each image",
    )
    decode_batch_size: int = Field(
        default=1,
        ge=1,
        le=64,
        description="images of one size decoded by one call; above 1 small images take less time, and more memory, and"
        " are rounded in other places than alone",
    )
    max_queue_seconds: float = Field(
        default=30, gt=0, le=3600, description="longest wait in seconds, 15 % in reserve, of what is admitted"
    )
    max_waiting: int = Field(default=1000, ge=1, le=1_000_000, description="most images that may wait (a memory guard)")
    drain_seconds: float = Field(
        default=300, gt=0, le=86_400, description="longest time from SIGTERM to exit, in seconds"
    )

    # ---- bounds of a request
    max_steps: int = Field(default=50, ge=1, le=1000, description="most denoising steps of one image")
    max_images: int = Field(default=4, ge=1, le=64, description="most images of one request (n)")
    min_side: int = Field(default=256, ge=16, le=4096, description="least width and height, in pixels")
    max_pixels: int = Field(
        default=2 * MEBI, ge=256, le=MAX_PIXELS_SUPPORTED, description="most pixels of one image (width x height)"
    )
    default_size: SizeOption = Field(
        default=Size(1024, 1024), description="size when a request gives none, and the size warmed at start, WxH"
    )
    image_formats: FormatsOption = Field(
        default=contract.IMAGE_FORMATS,
        min_length=1,
        description="output formats, comma separated; the first is the default",
    )
    max_prompt_chars: int = Field(default=32_000, ge=1, le=1_000_000, description="longest prompt, in characters")
    max_body_bytes: int = Field(default=MEBI, ge=1024, le=64 * MEBI, description="largest request body, in bytes")

    # ---- HTTP
    host: str = Field(default="0.0.0.0", description="address that both ports listen on (:: for IPv6 and IPv4)")  # noqa: S104 - a pod's address is not known beforehand
    port: int = Field(default=contract.HTTP_PORT, ge=0, le=65_535, description="port of the API, probes and metrics")
    admin_port: int = Field(default=contract.ADMIN_PORT, ge=0, le=65_535, description="port of the admin API")
    admin_token: SecretStr | None = Field(
        default=None,
        description="bearer token of the admin API; prefer the file. Without a token the port stays closed",
    )
    admin_token_file: Path | None = Field(
        default=None, description="file with that token; read at each call, so a changed Secret needs no restart"
    )
    connection_close: bool = Field(
        default=True, description="close the connection after each API reply, so that kube-proxy balances requests"
    )
    encoder_threads: int = Field(default=2, ge=1, le=64, description="threads that encode PNG, JPEG and WebP")

    # ---- identity and reports
    namespace: str = Field(default="", description="label fluxpool_namespace of every metric")
    pool: str = Field(default="", description="label fluxpool_pool of every metric")
    pod_uid: str = Field(default="", description="label fluxpool_pod_uid of every metric")
    log_format: Literal["json", "text"] = Field(default="text", description="one JSON object per line, or text")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least severity logged")
    termination_log: Path = Field(
        default=Path(contract.TERMINATION_MESSAGE_PATH),
        description="file for the reason why the server could not start; written only if it exists",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then the environment; no files."""
        return init_settings, _Environment(settings_cls)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if not self.batch_size_min <= self.batch_size <= self.batch_size_max:
            raise ValueError(
                f"batch_size must be batch_size_min to batch_size_max, {self.batch_size_min} to {self.batch_size_max},"
                f" and is {self.batch_size}"
            )
        if self.workers not in {None, self.gpu_count} and self.device != "cpu":
            raise ValueError(
                f"workers must be gpu_count, {self.gpu_count}, unless device is cpu, and is {self.workers}: "
                "each GPU has one worker"
            )
        problem = self.default_size.problem(self.min_side, self.max_pixels)
        if problem:
            raise ValueError(f"default_size {problem}")
        if self.quantize.form in {"int8", "fp8"} and self.compile == "off":
            raise ValueError(f"quantize is {self.quantize}, for which compile must be blocks")
        if self.offload == "group" and (self.compile != "off" or self.quantize.form != "none"):
            raise ValueError("offload is group, for which compile must be off and quantize none")
        if self.offload == "group" and self.cuda_graphs != "off":
            raise ValueError("offload is group, for which cuda_graphs must be off")
        if self.admin_token and self.admin_token_file:
            raise ValueError("admin_token and admin_token_file exclude each other")
        return self

    @property
    def model_names(self) -> tuple[str, ...]:
        """The model's id in the API, then its aliases."""
        return self.served_model_name or (self.model,)

    @property
    def _workers(self) -> int:
        """Several by default only where there are several GPUs."""
        return self.workers or (1 if self.device == "cpu" else self.gpu_count)

    @property
    def _cache_dir(self) -> str | None:
        if self.cache_dir is not None:
            return str(self.cache_dir)
        hub = os.environ.get(contract.ENV_HF_HOME)
        return str(Path(hub, "fluxpool")) if hub else None

    @property
    def _compile_cache(self) -> str | None:
        """The directory that was asked for, else one beside the other things that a restarted server should know."""
        if self.compile_cache is not None:
            return str(self.compile_cache)
        return str(Path(self._cache_dir, "compile")) if self._cache_dir else None

    def engine_config(self) -> EngineConfig:
        """What the engine needs of this. The hub token comes from `HF_TOKEN`: a secret is no flag."""
        return EngineConfig(
            model=self.model,
            revision=self.revision,
            token=os.environ.get(contract.ENV_HF_TOKEN) or None,
            dtype=self.dtype,
            device="cuda" if self.device == "auto" and self._workers > 1 else self.device,
            workers=self._workers,
            threads=self.torch_threads,
            default_width=self.default_size.width,
            default_height=self.default_size.height,
            batch_size=self.batch_size,
            batch_size_min=self.batch_size_min,
            batch_size_max=self.batch_size_max,
            knee_gain=self.knee_gain,
            decode_batch_size=self.decode_batch_size,
            max_steps=self.max_steps,
            max_images=self.max_images,
            max_pixels=self.max_pixels,
            max_sequence_length=self.max_sequence_length,
            max_queue_seconds=self.max_queue_seconds,
            max_waiting=self.max_waiting,
            drain_seconds=self.drain_seconds,
            watchdog_seconds=self.watchdog_seconds,
            cache_dir=self._cache_dir,
            prompt_cache_bytes=self.prompt_cache_bytes,
            quantize=self.quantize,
            compile=self.compile,
            compile_cache=self._compile_cache,
            cuda_graphs=self.cuda_graphs,
            offload=self.offload,
            attention=self.attention,
            tf32=self.tf32,
            vae_tiling=self.vae_tiling,
            vae_channels_last=self.vae_channels_last,
            pace=self.pace,
            log_format=self.log_format,
            log_level=self.log_level,
        )
