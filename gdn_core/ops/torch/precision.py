"""The widest floating-point numbers of a device, and the log decay from which on a decay is 0 in them."""

from __future__ import annotations

import torch

# At or below these the exponential of a log decay is exactly 0: the token forgets everything.
FORGETS = {torch.float64: -746.0, torch.float32: -104.0}


def has_float64(device: torch.device) -> bool:
    """Say whether a device computes in float64; Apple's GPUs and some of Intel's do not."""
    if device.type == "xpu":
        return bool(torch.xpu.get_device_properties(device).has_fp64)
    return device.type != "mps"


def wide(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on a device that has no float64."""
    return torch.float64 if has_float64(device) else torch.float32
