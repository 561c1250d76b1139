"""Keeps weights in the host's memory, and brings them to a small GPU when they are needed, by diffusers' hooks.

`text` does that to the text encoders, one layer at a time: they are the second largest part, and used once per new
prompt. `group` does it to the transformer's blocks as well, each copied while the one before it computes; every step
then moves all weights over the bus, so it is for GPUs that hold the model in no other way.
"""

from typing import Any

import torch
from diffusers.hooks import apply_group_offloading

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure


def check(config: EngineConfig, device: torch.device) -> None:
    """Raises StartError where there is no device to keep weights from."""
    if config.offload != "none" and device.type == "cpu":
        raise StartError(
            StartFailure.INVALID_CONFIGURATION,
            f"offload is {config.offload}, which needs a GPU, and the device is a CPU",
        )


def by_layers(module: Any, device: torch.device) -> Any:
    """Bring a module's layers to `device` one by one, whenever it runs."""
    return _offload(module, device, "leaf_level")


def by_blocks(module: Any, device: torch.device) -> Any:
    """Bring a module's blocks to `device` one by one, whenever it runs, and the rest of it all at once."""
    return _offload(module, device, "block_level")


def _offload(module: Any, device: torch.device, kind: str) -> Any:
    apply_group_offloading(
        module, onload_device=device, offload_type=kind, num_blocks_per_group=1, use_stream=device.type == "cuda"
    )
    return module
