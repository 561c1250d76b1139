"""What the operator's own settings class makes of an environment, asked in the operator's Python environment."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from chart.helm import TOP

PYTHON = TOP / "operator" / ".venv" / "bin" / "python"
LOAD = "from fluxpool_operator.settings import load; print(load({}).model_dump_json())"


def load_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings as JSON has them.

    Raises:
        subprocess.CalledProcessError: the operator refuses the environment.
    """
    done = subprocess.run(
        [PYTHON, "-c", LOAD], env=dict(environment), capture_output=True, text=True, timeout=60, check=True
    )
    settings: dict[str, Any] = json.loads(done.stdout)
    return settings
