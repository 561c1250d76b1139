"""A result file keeps the parts that were not measured again, and its aims are those of all parts."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

TOP = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_figures", TOP / "benchmarks" / "record.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


recording = load()


def part(name: str, value: float, **changes: Any) -> Any:
    aims = [recording.at_most(f"{name}, seconds", 5, value)]
    return recording.Part(**{"name": name, "command": f"make {name}", "versions": {name: "1"}, "aims": aims} | changes)


def test_a_part_measured_again_takes_the_place_of_its_old_self_and_of_nothing_else(tmp_path: Path) -> None:
    for measured in (part("b", 1), part("a", 9), part("b", 2)):
        path = recording.record("all", measured, tmp_path)
    found = json.loads(path.read_text())
    assert [(aim["name"], aim["value"], aim["met"]) for aim in found["aims"]] == [
        ("a, seconds", 9, False),
        ("b, seconds", 2, True),
    ]
    assert found["command"] == "make a; make b"
    assert found["versions"] == {"a": "1", "b": "1"}
    assert found["machine"] == recording.machine()
    assert set(found["parts"]) == {"a", "b"}


def test_a_part_measured_before_and_elsewhere_says_so_and_a_file_has_the_days_of_all(tmp_path: Path) -> None:
    parts = (
        part("a", 1, date="2026-11-24 to 2026-11-26", machine="old; new", versions={"torch": "1"}),
        part("b", 1, date="2026-11-25", machine="new", versions={"torch": "2"}, command="make c; make a"),
    )
    for measured in parts:
        path = recording.record("all", measured, tmp_path)
    found = json.loads(path.read_text())
    assert found["date"] == "2026-11-24 to 2026-11-26"
    assert found["machine"] == "old; new"
    assert found["command"] == "make a; make c"
    assert found["versions"] == {"torch": "1, 2"}
    assert found["parts"]["b"]["date"] == "2026-11-25"


def test_what_is_recorded_without_a_date_is_of_today(tmp_path: Path) -> None:
    before = recording.today()
    found = json.loads(recording.record("all", part("a", 1), tmp_path).read_text())
    assert found["date"] in {before, recording.today()}


def test_a_figure_that_is_not_finite_is_not_recorded(tmp_path: Path) -> None:
    path = recording.record("all", part("a", 1), tmp_path)
    before = path.read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        recording.record("all", part("a", 2, figures={"error": float("nan")}), tmp_path)
    assert path.read_text() == before


def test_what_could_not_be_measured_does_not_keep_a_bound() -> None:
    for bounded, worse in ((recording.at_most, 6), (recording.at_least, 4)):
        assert [bounded("x", 5, value).met for value in (None, 5, worse)] == [False, True, False]


def test_an_accelerator_is_named_beside_its_machine(tmp_path: Path) -> None:
    path = recording.record("all", part("a", 1, device="NVIDIA H200"), tmp_path)
    assert json.loads(path.read_text())["machine"] == f"{recording.machine()}, NVIDIA H200"


def test_a_script_that_is_killed_as_it_records_leaves_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recording.record("all", part("a", 1), tmp_path)
    before = path.read_text()

    def killed(self: Path, text: str) -> int:
        with self.open("w") as file:
            file.write(text[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        recording.record("all", part("a", 2), tmp_path)
    assert path.read_text() == before


def test_a_script_that_is_ended_while_it_records_leaves_a_whole_file(tmp_path: Path) -> None:
    script = (
        "import record, pathlib, sys\n"
        "part = record.Part('a', 'make a', {}, [], {'cells': list(range(20000))})\n"
        "while True: record.record('all', part, pathlib.Path(sys.argv[1]))\n"
    )
    for after_seconds in (0.0, 0.01, 0.02, 0.03):
        process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=TOP / "benchmarks")
        while not (tmp_path / "all.json").exists():
            assert process.poll() is None
        time.sleep(after_seconds)
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM
        assert set(json.loads((tmp_path / "all.json").read_text())["parts"]) == {"a"}


def test_a_figure_without_an_aim_is_neither_met_nor_missed() -> None:
    assert recording.reported("x", 5).met is None


def test_no_script_of_the_benchmarks_hides_a_module_of_the_standard_library() -> None:
    # Python looks in a script's own folder first: an operator.py there would break every other script beside it.
    names = {path.stem for path in (TOP / "benchmarks").glob("*.py")}
    assert names
    assert not names & sys.stdlib_module_names
