"""The hardware: which device, how many threads, and whether a GPU has failed for good."""

import math
import os
import platform
import re
from pathlib import Path

import torch

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure

CGROUPS = Path("/sys/fs/cgroup")


def pick(config: EngineConfig) -> torch.device:
    """The device of the configuration. Raises StartError where it is not there."""
    if config.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    if config.device == "cuda":
        raise StartError(
            StartFailure.DEVICE_UNAVAILABLE, "device is cuda, but torch finds no GPU it can use in this container"
        )
    return torch.device("cpu")


def cpu_threads(cgroups: Path = CGROUPS) -> int:
    """Cores this process may use: its affinity, within the quota of its cgroup (version 2 or 1), at least 1."""
    cores = len(os.sched_getaffinity(0))
    quota = _quota(cgroups)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroups: Path) -> float | None:
    """Cores by the cgroup's CPU quota; None if it has none, or there is no cgroup to read."""
    try:
        limit, period = (cgroups / "cpu.max").read_text().split()
    except FileNotFoundError:
        try:
            limit = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except FileNotFoundError:
            return None
    return None if limit in {"max", "-1"} else int(limit) / int(period)


def set_precision(config: EngineConfig) -> None:
    """How exactly products of float32 are computed on a GPU, in layers and in convolutions, for which torch differs.

    Sums of bfloat16 products are in float32, but for the partial sums of large products, as in the stock pipeline.
    """
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = config.tf32
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = True


def name(device: torch.device) -> str:
    """What kind of device it is: a GPU's product, such as `NVIDIA H200`; the processor, and how many cores it has."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{_processor()} x {os.cpu_count()}"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def uuid(device: torch.device) -> str | None:
    """The UUID of the GPU, or of the MIG slice of one, without NVML's prefix; None on CPU."""
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: on the GPU, or on the CPU, whose allocator says it in words only."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def synchronize(device: torch.device) -> None:
    """Return when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in the host's memory, once the device is done with it.

    From a GPU it is in pinned memory, into which it copies by itself; torch keeps that when the copy is gone, and the
    next one of such a size has it again.
    """
    if not tensor.is_cuda:
        return tensor.cpu()
    return torch.empty_like(tensor, device="cpu", pin_memory=True).copy_(tensor)


def recover(device: torch.device) -> bool:
    """Give cached memory back after an error; whether the device still works (a sticky CUDA error never goes away)."""
    if device.type != "cuda":
        return True
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    except RuntimeError:
        return False
    return True
