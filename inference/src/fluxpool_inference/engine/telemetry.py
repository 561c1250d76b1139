"""How busy and how full the device is: by NVML where there is a GPU that it knows, else by the engine's account."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence

import pynvml  # type: ignore[import-untyped]  # NVIDIA ships no types

from fluxpool_inference.engine.types import DeviceMemory, Utilization

WINDOW_SECONDS = 5.0


class BusyMeter:
    """The share of the last seconds in which the worker was busy, from its reports of what it has just done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reports: deque[tuple[float, float]] = deque()

    def add(self, seconds: float) -> None:
        """The worker was busy for so long, until now."""
        now = self._clock()
        self._forget_before(now - WINDOW_SECONDS)
        self._reports.append((now - seconds, now))

    def ratio(self, working_since: float | None) -> float:
        """Busy share of the window, 0 to 1.

        Args:
            working_since: When the worker began what it is doing now and has not reported; None if it is idle.
        """
        now = self._clock()
        begin = now - WINDOW_SECONDS
        self._forget_before(begin)
        busy = sum(until - max(since, begin) for since, until in self._reports)
        if working_since is not None:
            busy += now - max(working_since, begin)
        return min(1.0, busy / WINDOW_SECONDS)

    def _forget_before(self, begin: float) -> None:
        while self._reports and self._reports[0][1] <= begin:
            self._reports.popleft()


class Gpu:
    """One GPU, or a MIG slice of one, by its UUID. Raises NVMLError if NVML does not know it."""

    def __init__(self, uuid: str) -> None:
        pynvml.nvmlInit()
        try:
            self._handle = _handle(uuid)
        except pynvml.NVMLError:
            self.close()
            raise

    def close(self) -> None:
        """Give NVML back, which counts how often it was taken."""
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()

    def memory(self) -> DeviceMemory:
        """Of the whole device or slice, other processes included."""
        memory = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        return DeviceMemory(int(memory.used), int(memory.total))

    def utilization_ratio(self) -> float:
        """Share of NVML's last sample period (up to a second) in which a kernel ran."""
        return float(pynvml.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100


def _handle(uuid: str) -> object:
    """CUDA tells the same bare UUID for a GPU and for a MIG slice; NVML knows them by their prefixes."""
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except pynvml.NVMLError:
        return pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")


class Telemetry:
    """Memory and utilization of one worker's device."""

    def __init__(self, meter: BusyMeter) -> None:
        self._meter = meter
        self._gpu: Gpu | None = None

    def watch(self, device_uuid: str | None) -> None:
        """Ask NVML from now on, if the device is a GPU that it knows."""
        self.close()
        if device_uuid is not None:
            with contextlib.suppress(pynvml.NVMLError):
                self._gpu = Gpu(device_uuid)

    def close(self) -> None:
        """Ask NVML no more. Idempotent."""
        if self._gpu is not None:
            self._gpu.close()
            self._gpu = None

    def memory(self) -> DeviceMemory:
        """Zeros without a GPU."""
        try:
            return self._gpu.memory() if self._gpu else DeviceMemory(0, 0)
        except pynvml.NVMLError:
            return DeviceMemory(0, 0)

    def utilization(self, working_since: float | None) -> Utilization:
        """By NVML, which does not tell it for every kind of device (a MIG slice, say); else by the engine."""
        try:
            if self._gpu:
                return Utilization("nvml", self._gpu.utilization_ratio())
        except pynvml.NVMLError:
            pass
        return self.busy(working_since)

    def busy(self, working_since: float | None) -> Utilization:
        """By the engine's account; see `BusyMeter.ratio`."""
        return Utilization("engine_busy", self._meter.ratio(working_since))


def utilization_of_all(devices: Sequence[tuple[Telemetry, float | None]]) -> Utilization:
    """The mean of several devices, each with its `working_since`: by NVML if it tells it of all of them."""
    if not devices:
        return Utilization("engine_busy", 0.0)
    parts = [telemetry.utilization(since) for telemetry, since in devices]
    if len({part.source for part in parts}) > 1:
        parts = [telemetry.busy(since) for telemetry, since in devices]
    return Utilization(parts[0].source, sum(part.ratio for part in parts) / len(parts))


def memory_of_all(devices: Sequence[Telemetry]) -> DeviceMemory:
    """The sum over several devices."""
    parts = [telemetry.memory() for telemetry in devices]
    return DeviceMemory(sum(part.used_bytes for part in parts), sum(part.total_bytes for part in parts))
