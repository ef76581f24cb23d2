"""Tensor maps: descriptors by which Hopper and later chips copy whole tiles, one instruction a tile."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeVar

import torch
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

T = TypeVar("T")


@lru_cache
def capability(device: torch.device) -> int:
    """Return the compute capability of a device as one number, 90 for 9.0; 0 for a CPU."""
    if device.type != "cuda":
        return 0
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def of_capability(configs: Mapping[int, T], level: int) -> T:
    """Return what a kernel may pick on a device: the entry of the highest capability that the device has."""
    return configs[max((least for least in configs if least <= level), default=min(configs))]


def has_tensor_maps(device: torch.device) -> bool:
    """Tell whether a device copies tiles by itself."""
    return capability(device) >= 90


def fits_hopper(K: int, *tensors: Tensor) -> bool:
    """Tell whether the kernels written for Hopper alone take keys of K channels and tensors like these.

    The one place that chooses between them and the portable ones. Only Hopper has their matrix instruction; they know
    two widths of key, two-byte operands, and what a descriptor can stand on.
    """
    x = tensors[0]
    return (
        K in (64, 128)
        and x.element_size() == 2
        and capability(x.device) == 90
        and all(tensor.numel() > 0 and tensor.data_ptr() % 16 == 0 for tensor in tensors)
    )


def fits_tensor_maps(K: int, V: int, BK: int, BV: int, x: Tensor) -> bool:
    """Tell whether tiles of [tokens, BK] and [tokens, BV] cut heads of K and V channels without a rest."""
    return x.element_size() == 2 and K == BK and V % BV == 0 and has_tensor_maps(x.device)


def rows_of(x: Tensor, channels: int, tile: tuple[int, int]) -> TensorDescriptor:
    """Describe a contiguous tensor as rows of ``channels`` numbers, to be copied in tiles."""
    return TensorDescriptor(x, [x.numel() // channels, channels], [channels, 1], list(tile))
