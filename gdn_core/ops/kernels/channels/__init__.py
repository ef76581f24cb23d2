"""Kernels for a decay and gates by channel, on any NVIDIA GPU; the widths of the gates are constants of compilation."""

from gdn_core.ops.kernels.channels import chunk, steps

__all__ = ["chunk", "steps"]
