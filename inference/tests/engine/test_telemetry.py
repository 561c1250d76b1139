"""The device's memory and utilization over a fake NVML: real errors and structures of pynvml, no driver."""

import types
import uuid
from dataclasses import dataclass, field

import pynvml
import pytest
from bed import Make

from fluxpool_inference.engine import DeviceMemory, Utilization
from fluxpool_inference.engine.telemetry import BusyMeter, Telemetry, memory_of_all, utilization_of_all

GPU = "6a3f1d52-0b1c-4f6e-9d3a-2f7b8c9d0e1f"
SLICE = "c1d2e3f4-1111-2222-3333-444455556666"
GIB = 2**30


@dataclass
class FakeNvml:
    """Knows one GPU and one MIG slice. `errors` are codes by the name of the function that fails with them."""

    errors: dict[str, int] = field(default_factory=dict)
    users: int = 0
    asked: list[str] = field(default_factory=list)

    def nvmlInit(self) -> None:  # noqa: N802 - pynvml's names
        self._answer("nvmlInit", initialized=False)
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._answer("nvmlShutdown")
        self.users -= 1

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        self._answer("nvmlDeviceGetHandleByUUID")
        if name not in {f"GPU-{GPU}", f"MIG-{SLICE}"}:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return name

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> object:  # noqa: N802
        self._answer("nvmlDeviceGetMemoryInfo")
        total = 80 * GIB if handle.startswith("GPU") else 10 * GIB
        return pynvml.c_nvmlMemory_t(total=total, used=total // 4, free=total - total // 4)

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        self._answer("nvmlDeviceGetName")
        return "NVIDIA H200" if handle.startswith("GPU") else "NVIDIA H200 MIG 1g.18gb"

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> object:  # noqa: N802
        self._answer("nvmlDeviceGetUtilizationRates")
        if handle.startswith("MIG"):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return pynvml.c_nvmlUtilization_t(gpu=37, memory=12)

    def _answer(self, function: str, *, initialized: bool = True) -> None:
        self.asked.append(function)
        if function in self.errors:
            raise pynvml.NVMLError(self.errors[function])
        if initialized and not self.users:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    for name in vars(FakeNvml):
        if name.startswith("nvml"):
            monkeypatch.setattr(pynvml, name, getattr(fake, name))  # which fails where pynvml has no such function
    return fake


@pytest.fixture
def telemetry() -> Telemetry:
    """Of an engine that was busy for half of the last five seconds."""
    meter = BusyMeter(lambda: 100.0)
    meter.add(2.5)
    return Telemetry(meter)


BUSY = Utilization("engine_busy", 0.5)
NOTHING = DeviceMemory(0, 0)


def test_a_gpu_is_found_by_its_uuid_and_told_by_nvml(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(GPU)
    assert telemetry.utilization(None) == Utilization("nvml", 0.37)
    assert telemetry.memory() == DeviceMemory(used_bytes=20 * GIB, total_bytes=80 * GIB)


def test_a_mig_slice_has_memory_of_its_own_and_the_engines_word_for_its_utilization(
    nvml: FakeNvml, telemetry: Telemetry
) -> None:
    telemetry.watch(SLICE)
    assert telemetry.memory() == DeviceMemory(used_bytes=10 * GIB // 4, total_bytes=10 * GIB)
    assert telemetry.utilization(None) == BUSY


def test_without_a_gpu_nvml_is_not_asked(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(None)
    assert (telemetry.utilization(None), telemetry.memory()) == (BUSY, NOTHING)
    assert telemetry.utilization(99.0).ratio == pytest.approx(0.7), "with a second of what is not reported yet"
    assert nvml.asked == []


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("nvmlInit", pynvml.NVML_ERROR_LIBRARY_NOT_FOUND),
        ("nvmlInit", pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        ("nvmlDeviceGetHandleByUUID", pynvml.NVML_ERROR_NO_PERMISSION),
    ],
)
def test_where_nvml_does_not_answer_the_engine_does_and_nvml_is_given_back(
    nvml: FakeNvml, telemetry: Telemetry, function: str, code: int
) -> None:
    nvml.errors[function] = code
    telemetry.watch(GPU)
    assert (telemetry.utilization(None), telemetry.memory()) == (BUSY, NOTHING)
    assert nvml.users == 0


def test_a_gpu_that_nvml_does_not_know_is_told_by_the_engine(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(str(uuid.uuid4()))
    assert (telemetry.utilization(None), telemetry.memory()) == (BUSY, NOTHING)
    assert nvml.users == 0


def test_a_reading_that_fails_is_the_engines_until_nvml_answers_again(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(GPU)
    readings = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo")
    nvml.errors = dict.fromkeys(readings, pynvml.NVML_ERROR_GPU_IS_LOST)
    assert (telemetry.utilization(None), telemetry.memory()) == (BUSY, NOTHING)
    nvml.errors = {}
    assert telemetry.utilization(None).source == "nvml"
    assert telemetry.memory().total_bytes == 80 * GIB


def test_a_device_watched_anew_takes_the_place_of_the_one_before(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(GPU)
    telemetry.watch(SLICE)
    assert telemetry.memory().total_bytes == 10 * GIB
    assert nvml.users == 1
    telemetry.watch(None)
    assert (telemetry.memory(), nvml.users) == (NOTHING, 0)


def test_several_devices_have_one_memory_and_their_mean_utilization(nvml: FakeNvml, telemetry: Telemetry) -> None:
    idle = Telemetry(BusyMeter(lambda: 100.0))
    assert utilization_of_all([]) == Utilization("engine_busy", 0.0)
    assert utilization_of_all([(telemetry, None), (idle, None)]) == Utilization("engine_busy", 0.25)
    telemetry.watch(GPU)
    assert utilization_of_all([(telemetry, None)]) == Utilization("nvml", 0.37)
    assert utilization_of_all([(telemetry, None), (idle, None)]) == Utilization("engine_busy", 0.25), "one has no NVML"
    idle.watch(GPU)
    assert utilization_of_all([(telemetry, None), (idle, None)]) == Utilization("nvml", 0.37)
    assert memory_of_all([telemetry, idle]) == DeviceMemory(40 * GIB, 160 * GIB)


def test_nvml_is_given_back_once_and_not_asked_again(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(GPU)
    telemetry.close()
    telemetry.close()
    assert nvml.users == 0
    assert (telemetry.utilization(None), telemetry.memory()) == (BUSY, NOTHING)
    assert nvml.asked.count("nvmlShutdown") == 1


def test_an_end_that_nvml_refuses_is_no_error(nvml: FakeNvml, telemetry: Telemetry) -> None:
    telemetry.watch(GPU)
    nvml.errors["nvmlShutdown"] = pynvml.NVML_ERROR_UNKNOWN
    telemetry.close()
    assert telemetry.memory() == NOTHING


@pytest.mark.parametrize("bare", [GPU, SLICE])
def test_what_the_worker_calls_its_device_is_what_nvml_finds(
    nvml: FakeNvml, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch, bare: str
) -> None:
    import torch

    from fluxpool_inference.worker import device

    properties = types.SimpleNamespace(uuid=uuid.UUID(bare))  # torch's own type prints as this one does
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    telemetry.watch(device.uuid(torch.device("cuda", 0)))
    assert telemetry.memory().total_bytes > 0


async def test_an_engine_watches_the_gpu_of_each_of_its_workers_until_it_stops(nvml: FakeNvml, make: Make) -> None:
    bed = make({"device_uuid": GPU})
    assert bed.engine.status().utilization.source == "engine_busy"
    await bed.engine.start()
    status = bed.engine.status()
    assert status.utilization == Utilization("nvml", 0.37)
    assert status.memory.total_bytes == 80 * GIB
    bed.kill()
    await bed.restarted()
    assert bed.engine.status().utilization.source == "nvml"
    assert nvml.users == 1
    await bed.engine.stop()
    assert nvml.users == 0
