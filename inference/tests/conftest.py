import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy: time is no verdict.
settings.register_profile("fluxpool", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fluxpool")
os.environ["HF_HUB_OFFLINE"] = "1"  # here and in every child: no test may need the hub


@pytest.fixture(scope="session")
def dev_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with guidance embedding, like FLUX.1-dev."""
    return _tiny_model(tmp_path_factory.mktemp("models") / "dev", schnell=False)


@pytest.fixture(scope="session")
def schnell_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model without, like FLUX.1-schnell."""
    return _tiny_model(tmp_path_factory.mktemp("models") / "schnell", schnell=True)


def _tiny_model(directory: Path, *, schnell: bool) -> Path:
    from fluxpool_inference.tiny_model import write_tiny_model  # imports torch: for the tests that need it

    write_tiny_model(directory, schnell=schnell)
    return directory
