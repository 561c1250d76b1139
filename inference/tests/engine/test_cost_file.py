"""What is known of costs, over the end of a process: read by whom it is about, and by nobody else."""

import asyncio
import dataclasses
import json
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from bed import Bed, Make, alive
from bench import image
from waiting import until

from fluxpool_inference.cost_file import CostFile
from fluxpool_inference.engine import EngineConfig, Pace, crew
from fluxpool_inference.scheduling.bucket import Bucket
from fluxpool_inference.scheduling.costs import Calibration, Known, StepCurve, TransformerShape

SMALL, WIDE = Bucket(4, 4, 64), Bucket(4, 8, 64)
KNOWN = Known(
    Calibration(TransformerShape(64, 2), SMALL, StepCurve(0.01, 0.002), 0.1, 0.2, Pace(0.5, 0.25)),
    ((SMALL, 1.25), (WIDE, 0.5)),
    encode=0.75,
    decode=2.0,
)
CONFIG = EngineConfig("acme/flux", pace=Pace(0.5, 0.25))


def file(folder: Path, device: str = "cpu", config: EngineConfig = CONFIG) -> CostFile:
    return CostFile(folder, device, config)


def only(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    assert file(folder).read() is None
    file(folder).write(KNOWN)
    assert file(folder).read() == KNOWN
    assert len(list(folder.iterdir())) == 1, "no draft is left"


@pytest.mark.parametrize(
    ("device", "config"),
    [
        ("NVIDIA H200", CONFIG),
        ("cpu", EngineConfig("acme/other", pace=CONFIG.pace)),
        ("cpu", EngineConfig("acme/flux", pace=CONFIG.pace, dtype="float32")),
        ("cpu", EngineConfig("acme/flux", pace=CONFIG.pace, threads=1)),
        ("cpu", EngineConfig("acme/flux", pace=CONFIG.pace, revision="v2")),
        ("cpu", EngineConfig("acme/flux", pace=None)),
    ],
    ids=["device", "model", "precision", "threads", "revision", "pace"],
)
def test_another_device_model_or_precision_has_a_file_of_its_own(
    tmp_path: Path, device: str, config: EngineConfig
) -> None:
    file(tmp_path).write(KNOWN)
    assert file(tmp_path, device, config).read() is None


def test_limits_of_admission_and_secrets_make_no_other_file(tmp_path: Path) -> None:
    file(tmp_path).write(KNOWN)
    assert "hf_secret" not in only(tmp_path).read_text()
    same = EngineConfig("acme/flux", pace=CONFIG.pace, token="hf_secret", max_queue_seconds=3, batch_size=2)
    assert file(tmp_path, config=same).read() == KNOWN


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return edit


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff\xfe\x00",
        lambda content: b"[]",
        edited(lambda document: document.update(encode=-1.0)),
        edited(lambda document: document.update(encode=float("nan"))),
        edited(lambda document: document.update(steps=[[{"height": 0, "width": 4, "text_tokens": 64}, 1.0]])),
        edited(lambda document: document["calibration"].update(decode_seconds=float("inf"))),  # type: ignore[attr-defined]
        edited(lambda document: document["calibration"].update(decode_seconds=0.0)),  # type: ignore[attr-defined]
        edited(lambda document: document["about"].update(hardware="another")),  # type: ignore[attr-defined]
        edited(lambda document: document.update(surprise=1)),
    ],
    ids=["empty", "cut", "bytes", "a list", "negative", "nan", "no bucket", "infinite", "zero", "foreign", "surplus"],
)
def test_a_file_that_is_corrupt_or_foreign_is_ignored_with_one_line_and_written_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[bytes], bytes]
) -> None:
    file(tmp_path).write(KNOWN)
    path = only(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    with caplog.at_level(logging.INFO):
        assert file(tmp_path).read() is None
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert "\n" not in record.getMessage()
    file(tmp_path).write(KNOWN)
    assert file(tmp_path).read() == KNOWN


def test_a_folder_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    costs = file(tmp_path / "file")
    for _ in range(3):
        costs.write(KNOWN)
    (record,) = caplog.records
    assert "cannot be kept" in record.getMessage()


def test_a_write_that_fails_half_way_leaves_nothing_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file(tmp_path).write(KNOWN)
    path = only(tmp_path)
    path.unlink()
    path.mkdir()  # in its place: it can neither be replaced nor read
    file(tmp_path).write(KNOWN)
    assert only(tmp_path) == path, "no draft is left"
    assert file(tmp_path).read() is None
    assert len(caplog.records) == 2


OTHER = dataclasses.replace(KNOWN, encode=0.5)


# ---- two pods on a shared volume: each process has the id 1 there, as both files here are of one process


def test_a_pod_that_was_overtaken_while_it_wrote_is_the_last_and_writes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = file(tmp_path), file(tmp_path)
    true_replace = Path.replace

    def replace(draft: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "replace", true_replace)
        second.write(OTHER)
        return true_replace(draft, target)

    monkeypatch.setattr(Path, "replace", replace)
    first.write(KNOWN)
    assert file(tmp_path).read() == KNOWN
    for costs in (second, first):
        costs.write(OTHER if costs is first else KNOWN)
    assert file(tmp_path).read() == OTHER
    assert caplog.records == []
    assert len(list(tmp_path.iterdir())) == 1, "no draft is left"


def test_what_is_put_in_place_is_whole_though_another_pod_has_just_opened_its_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_replace, true_write, found = Path.replace, Path.write_text, []

    def replace(draft: Path, target: Path) -> Path:
        def write_text(other_draft: Path, text: str) -> int:
            other_draft.open("w").close()
            true_replace(draft, target)
            found.append(file(tmp_path).read())
            return true_write(other_draft, text)

        monkeypatch.setattr(Path, "replace", true_replace)
        monkeypatch.setattr(Path, "write_text", write_text)
        file(tmp_path).write(OTHER)
        return target

    monkeypatch.setattr(Path, "replace", replace)
    file(tmp_path).write(KNOWN)
    assert found == [KNOWN]
    assert file(tmp_path).read() == OTHER
    assert len(list(tmp_path.iterdir())) == 1, "no draft is left"


def test_the_file_is_for_all_whom_the_umask_lets_read_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        file(tmp_path).write(KNOWN)
    finally:
        os.umask(before)
    assert only(tmp_path).stat().st_mode & 0o777 == 0o640


def test_a_process_writes_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = file(tmp_path)
    true_replace, events, second_begins = Path.replace, [], threading.Event()

    def replace(path: Path, target: Path) -> Path:
        events.append("begin")
        if len(events) > 1:
            second_begins.set()
        else:
            second.start()
            second_begins.wait(0.3)
        replaced = true_replace(path, target)
        events.append("end")
        return replaced

    monkeypatch.setattr(Path, "replace", replace)
    second = threading.Thread(target=costs.write, args=[OTHER])
    costs.write(KNOWN)
    second.join()
    assert events == ["begin", "end"] * 2
    assert file(tmp_path).read() == OTHER


# ---- an engine that is restarted


def step_seconds(bed: Bed, width: int = 64) -> float:
    return bed.lane.serving.costs.step_seconds(Bucket.of_size(width, 64, 32), 1)


async def test_a_restarted_engine_knows_what_steps_took_also_of_sizes_it_never_warmed(
    make: Make, tmp_path: Path
) -> None:
    options = {"cache_dir": str(tmp_path / "cache")}
    model = {"calibrated_at": 0.5}
    before = make(model, **options)
    await before.engine.start()
    for width in (64, 32):
        (await before.engine.generate(image(width=width, steps=30))).release()
    learned = [step_seconds(before), step_seconds(before, 32)]
    assert learned[0] > 1.5 * 0.0055, "more than was calibrated, and about the 0.011 s that it takes"
    await before.engine.stop()
    after = make(model, home=before.home, **options)
    await after.engine.start()
    assert [step_seconds(after), step_seconds(after, 32)] == pytest.approx(learned)


async def test_costs_are_kept_now_and_then_for_a_process_that_is_killed(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "KEEP_COSTS_SECONDS", 0.05)
    bed = make(cache_dir=str(tmp_path / "cache"))
    await bed.engine.start()
    await until(lambda: (tmp_path / "cache").exists() and bool(list((tmp_path / "cache").glob("costs-*.json"))))


async def test_a_volume_that_stalls_holds_up_no_image_and_the_last_costs_are_kept_all_the_same(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "KEEP_COSTS_SECONDS", 0.05)
    stalled, goes_on, went_on = threading.Event(), threading.Event(), []
    true_write = Path.write_text

    def write_text(path: Path, text: str) -> int:
        stalled.set()
        went_on.append(goes_on.wait(10))
        return true_write(path, text)

    bed = make({"calibrated_at": 0.5}, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(Path, "write_text", write_text)
    await bed.engine.start()
    await until(stalled.is_set)
    (await bed.engine.generate(image(steps=30))).release()
    learned = bed.lane.serving.costs.known()
    stopping = asyncio.create_task(bed.engine.stop())
    await until(lambda: not alive(bed.starts[0]))
    goes_on.set()
    await stopping
    assert all(went_on), "it was the test that let it go on, not its patience that ended"
    assert json.loads(only(tmp_path / "cache").read_text())["steps"][0][1] == learned.steps[0][1]


async def test_a_restarted_worker_has_what_was_learned_from_the_one_before(make: Make) -> None:
    bed = make({"calibrated_at": 0.5})
    await bed.engine.start()
    (await bed.engine.generate(image(steps=30))).release()
    learned = step_seconds(bed)
    bed.kill()
    await bed.restarted()
    assert step_seconds(bed) == pytest.approx(learned)
