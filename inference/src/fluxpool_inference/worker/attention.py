"""Chooses by what attention is computed, among what diffusers knows, and tries it before anyone depends on it."""

from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn

from fluxpool_inference.configuration import AttentionBackend, EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure, first_line

_NAMES: dict[AttentionBackend, str] = {
    "native": "native",
    "cudnn": "_native_cudnn",
    "flash2": "flash",
    "flash3": "_flash_3",
    "sage": "sage",
}
"""Ours, and those of `diffusers.models.attention_dispatch`. None of them downloads code."""
_BEST_FIRST: tuple[AttentionBackend, ...] = ("flash3", "cudnn", "flash2", "native")
"""By published times on Hopper. `sage` is left out: it rounds to 8 bits, which nobody should get unasked."""
_TOLERANCE = 0.05
_TOKENS = 128


def use(transformer: Any, config: EngineConfig, device: torch.device) -> AttentionBackend:
    """Set the transformer's backend to the configured one, or to the best that works here; return which.

    Raises StartError if the configured one does not work, with those that do.
    """
    wanted = config.attention
    if wanted == "auto":
        candidates = _BEST_FIRST if device.type == "cuda" else ("native",)
        return next(name for name in candidates if _problem(transformer, name, device) is None)
    if problem := _problem(transformer, wanted, device):
        others = ", ".join(name for name in _NAMES if _problem(transformer, name, device) is None)
        raise StartError(
            StartFailure.DEVICE_UNAVAILABLE,
            f"attention is {wanted}, which does not work here ({problem}); can be: {others}",
        )
    return wanted


def _problem(transformer: Any, name: AttentionBackend, device: torch.device) -> str | None:
    """Why a backend cannot be used; None if it is in use now, and computes what torch's own does."""
    try:
        transformer.set_attention_backend(_NAMES[name])
        shape = (3, 2, _TOKENS, transformer.config.num_attention_heads, transformer.config.attention_head_dim)
        query, key, value = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device, transformer.dtype)
        found, expected = (dispatch_attention_fn(query, key, value, backend=_NAMES[each]) for each in (name, "native"))
    except Exception as error:  # noqa: BLE001 - whatever a library raises means that it does not work
        return first_line(error)
    difference = float((found - expected).float().norm() / expected.float().norm())
    return None if difference <= _TOLERANCE else f"its result differs by {difference:.2g}"
