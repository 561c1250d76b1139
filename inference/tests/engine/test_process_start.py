import subprocess
import sys
import time

from fluxpool_inference.process_start import started_at

LATE = "import time; time.sleep(0.5); from fluxpool_inference.process_start import started_at; print(started_at())"


def test_a_process_was_started_when_it_was_however_late_it_is_asked() -> None:
    before = time.monotonic()
    told = float(subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, check=True).stdout)
    assert before - 0.02 <= told < time.monotonic() - 0.5
    assert started_at() < before
