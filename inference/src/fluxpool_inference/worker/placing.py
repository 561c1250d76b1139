"""Moves a loaded part onto its device, and tells how far it is.

Weights of the configured precision are mapped from their files and not read before they are moved, so nearly all of a
part's loading passes here.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch


def onto(device: torch.device, part: Any, tell: Callable[[float], None]) -> Any:
    """Move a part, layer by layer. `tell` hears which share of the bytes that were elsewhere is there now, rising."""
    whole, moved = _elsewhere(part, device), 0
    for layer in part.modules():
        here = 0 if [*layer.children()] else _elsewhere(layer, device)
        if here:
            layer.to(device)
            moved += here
            tell(moved / whole)
    return part.to(device)  # what belongs to no single layer


def _elsewhere(module: torch.nn.Module, device: torch.device) -> int:
    """Bytes of tensors that are on another device."""
    return sum(tensor.nbytes for tensor in chain(module.parameters(), module.buffers()) if tensor.device != device)
