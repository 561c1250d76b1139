import json
from pathlib import Path

import pytest

from fluxpool_inference import termination
from fluxpool_inference.engine import StartError, StartFailure


def test_the_message_is_one_json_line_that_the_kubelet_keeps_whole(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    file.touch()
    termination.write(file, StartError(StartFailure.MODEL_LOAD_FAILED, "é" * 5000))
    content = file.read_bytes()
    assert len(content) <= 4096
    assert content.count(b"\n") == 1
    written = json.loads(content)
    assert written["reason"] == "ModelLoadFailed"
    assert set(written["message"]) == {"é"}


def test_a_file_that_cannot_be_written_is_told_and_changes_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    termination.write(tmp_path, StartError(StartFailure.DEVICE_UNAVAILABLE, "no device"))  # a directory
    assert "termination message could not be written" in caplog.text
