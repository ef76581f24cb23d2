"""Tensor maps: descriptors by which Hopper and later chips copy whole tiles, one instruction a tile."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor


@lru_cache
def has_tensor_maps(device: torch.device) -> bool:
    """Tell whether a device copies tiles by itself."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 9


def fits_tensor_maps(K: int, V: int, BK: int, BV: int, x: Tensor) -> bool:
    """Tell whether tiles of [tokens, BK] and [tokens, BV] cut heads of K and V channels without a rest."""
    return x.element_size() == 2 and K == BK and V % BV == 0 and has_tensor_maps(x.device)


def rows_of(x: Tensor, channels: int, tile: tuple[int, int]) -> TensorDescriptor:
    """Describe a contiguous tensor as rows of ``channels`` numbers, to be copied in tiles."""
    return TensorDescriptor(x, [x.numel() // channels, channels], [channels, 1], list(tile))
