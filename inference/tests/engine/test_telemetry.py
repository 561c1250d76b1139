"""Memory and utilization: by NVML where it knows the device, else by the engine's own account."""

from typing import ClassVar

import pynvml
import pytest

from fluxpool_inference.engine import DeviceMemory, Utilization
from fluxpool_inference.engine import telemetry as telemetry_module
from fluxpool_inference.engine.telemetry import BusyMeter, Telemetry


class Gpu:
    """Of 80 bytes, half busy; tells nothing of what is in `mute`."""

    mute: ClassVar[set[str]] = set()

    def __init__(self, uuid: str) -> None:
        if uuid != "GPU-1":
            raise pynvml.NVMLError_NotFound

    def memory(self) -> DeviceMemory:
        if "memory" in self.mute:
            raise pynvml.NVMLError_GpuIsLost
        return DeviceMemory(30, 80)

    def utilization_ratio(self) -> float:
        if "utilization" in self.mute:
            raise pynvml.NVMLError_NotSupported
        return 0.5


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Telemetry:
    monkeypatch.setattr(telemetry_module, "Gpu", Gpu)
    monkeypatch.setattr(Gpu, "mute", set())
    return Telemetry(BusyMeter(lambda: 100.0))


def test_a_gpu_that_nvml_knows_is_asked(telemetry: Telemetry) -> None:
    telemetry.watch("GPU-1")
    assert telemetry.utilization(None) == Utilization("nvml", 0.5)
    assert telemetry.memory() == DeviceMemory(30, 80)


@pytest.mark.parametrize("uuid", [None, "GPU-2"])
def test_of_any_other_device_the_engine_s_own_account_is_told(telemetry: Telemetry, uuid: str | None) -> None:
    telemetry.watch("GPU-1")
    telemetry.watch(uuid)  # a worker started again, elsewhere
    assert telemetry.utilization(99.0) == Utilization("engine_busy", pytest.approx(0.2))
    assert telemetry.memory() == DeviceMemory(0, 0)


def test_what_nvml_does_not_tell_of_a_device_comes_from_the_engine_too(telemetry: Telemetry) -> None:
    telemetry.watch("GPU-1")
    Gpu.mute = {"utilization"}
    assert telemetry.utilization(None) == Utilization("engine_busy", 0.0)
    assert telemetry.memory() == DeviceMemory(30, 80)
    Gpu.mute = {"memory"}
    assert telemetry.memory() == DeviceMemory(0, 0)
