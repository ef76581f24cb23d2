"""The widest floating-point dtype of a device, and the log decay whose exponential is 0 in it."""

from __future__ import annotations

import torch

# At or below this log decay the exponential is exactly 0, and the token clears the memory.
FORGETS = {torch.float64: -746.0, torch.float32: -104.0}


def has_float64(device: torch.device) -> bool:
    """Tell whether a device computes in float64; Apple's GPUs and some of Intel's do not."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def wide(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has no float64."""
    return torch.float64 if has_float64(device) else torch.float32
