"""`serve` with the in-memory engine: a server process that starts in a second.

Options by FLUXPOOL_*, the engine's behaviour by ENGINE_*.
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # for what the tests share

from in_memory_engine import InMemoryEngine

from fluxpool_inference import lifecycle
from fluxpool_inference.engine import EngineConfig, EngineObserver, StartError, StartFailure
from fluxpool_inference.http import body
from fluxpool_inference.settings import ServeSettings

HEAVY = ("accelerate", "diffusers", "numpy", "torch", "transformers")


class SlowEngine(InMemoryEngine):
    def __init__(self, config: EngineConfig, observer: EngineObserver) -> None:
        super().__init__(config, observer)
        self.step_seconds = float(os.environ.get("ENGINE_STEP_SECONDS", "0"))

    async def start(self) -> None:
        if os.environ.get("ENGINE_START") == "never":
            await asyncio.Event().wait()
        if os.environ.get("ENGINE_START") == "fails":
            raise StartError(StartFailure.MODEL_LOAD_FAILED, "model_index.json is missing in /models/flux.")
        await super().start()

    async def stop(self) -> None:
        sys.stdout.write("engine stopped\n")
        sys.stdout.writelines(f"{name} imported\n" for name in HEAVY if name in sys.modules)


if __name__ == "__main__":
    body.READ_TIMEOUT_SECONDS = float(os.environ.get("BODY_SECONDS", body.READ_TIMEOUT_SECONDS))
    sys.exit(lifecycle.serve(ServeSettings(model="m", min_side=64, default_size="64x64"), SlowEngine))
