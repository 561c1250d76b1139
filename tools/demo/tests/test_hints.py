import base64
import json
import subprocess
from pathlib import Path

import pytest

from fluxpool_demo.hints import hints

FAKES = {
    "kubectl": 'echo "kubectl $*" >> "$CALLS"',
    "curl": 'printf "%s\\n" "$*" >> "$CALLS"; cat "$ANSWER"',
    "make": 'echo "make $*" >> "$CALLS"',
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run the hints in, with programs that only note how they were called."""
    programs = {tmp_path / "bin" / name: body for name, body in FAKES.items()}
    programs[tmp_path / "tools" / "cluster" / "run"] = 'echo "run $*" >> "$CALLS"'
    for path, body in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    (tmp_path / "out" / "demo").mkdir(parents=True)
    (tmp_path / "kube config").touch()
    (tmp_path / "answer").write_text(json.dumps({"data": [{"b64_json": base64.b64encode(b"a picture").decode()}]}))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("ANSWER", str(tmp_path / "answer"))
    return tmp_path


def type_in(lines: list[str], folder: Path) -> list[str]:
    """Type everything into a shell; returns the calls of programs, in order."""
    subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join([*lines, "wait"])], cwd=folder, check=True)
    return (folder / "calls").read_text().splitlines()


def test_every_line_can_be_typed_as_it_is_printed(shell: Path) -> None:
    calls = type_in(hints(shell / "kube config"), shell)
    assert (shell / "out" / "demo" / "fox.png").read_bytes() == b"a picture"
    [posted] = [call for call in calls if "images/generations" in call]
    assert json.loads(posted[posted.index("{") :])["num_inference_steps"] == 4
    [patched] = [call for call in calls if " patch " in call]
    assert json.loads(patched[patched.index("{") :]) == {"spec": {"scaling": {"mode": "Hold"}}}
    assert any(call.startswith("run tests/.venv/bin/fluxpool-bench http://") for call in calls)
    assert calls[-1] == "make cluster-down"


def test_the_labs_kubeconfig_and_programs_are_exported(shell: Path) -> None:
    exports = [
        *[line for line in hints(shell / "kube config") if line.startswith("export")],
        'echo "$KUBECONFIG" "$PATH"',
    ]
    said = subprocess.run(["bash", "-c", "\n".join(exports)], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{shell / 'kube config'} {shell / 'bin'}:")


def test_on_another_cluster_nothing_of_the_lab_is_spoken_of(shell: Path) -> None:
    words = "\n".join(hints(shell / "absent"))
    assert "kubectl" in words
    for lab in ("KUBECONFIG", "tools/cluster", "make"):
        assert lab not in words
