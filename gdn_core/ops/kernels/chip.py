"""What a GPU is, which kernels fit it, and how a kernel is cut for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch
import triton
from torch import Tensor

Entry = TypeVar("Entry")


class Chip(NamedTuple):
    """What the choice of a kernel and of its tiles depends on.

    Args:
        processors: multiprocessors; 1 for a CPU, whose programs run one after the other.
        capability: compute capability as one number, 90 for 9.0; 0 for a CPU.
    """

    processors: int
    capability: int


@lru_cache
def chip_of(device: torch.device) -> Chip:
    """Look a device up."""
    if device.type != "cuda":
        return Chip(processors=1, capability=0)
    facts = torch.cuda.get_device_properties(device)
    return Chip(facts.multi_processor_count, 10 * facts.major + facts.minor)


# --- which kernels fit ----------------------------------------------------------------------------------------


def fits_hopper(K: int, *tensors: Tensor) -> bool:
    """Tell whether kernels written for Hopper take keys of K channels and tensors like these.

    Only Hopper has their matrix instruction. They know two widths of key, operands of two bytes, and addresses that a
    tensor map (the descriptor of a tile that the chip copies by itself) may start at.
    """
    x = tensors[0]
    return (
        K in (64, 128)
        and x.element_size() == 2
        and chip_of(x.device).capability == 90
        and all(tensor.numel() > 0 and tensor.data_ptr() % 16 == 0 for tensor in tensors)
    )


def scans_on_hopper(K: int, V: int, *tensors: Tensor) -> bool:
    """Tell whether the scans written for Hopper take these, forward and backward."""
    return V % 64 == 0 and fits_hopper(K, *tensors)


def differentiates_on_hopper(K: int, V: int, *tensors: Tensor) -> bool:
    """Tell whether the kernel of the gradients written for Hopper takes these."""
    return V in (64, 128) and fits_hopper(K, *tensors)


def fits_tensor_maps(K: int, V: int, BK: int, BV: int, x: Tensor) -> bool:
    """Tell whether a portable kernel copies tiles [tokens, BK] and [tokens, BV] of such tensors by tensor maps.

    Hopper and later chips have them. Tiles have to cut heads of K and V channels without a rest.
    """
    return x.element_size() == 2 and K == BK and V % BV == 0 and chip_of(x.device).capability >= 90


def sliced(x: Tensor) -> bool:
    """Tell whether products of tensors like this one are taken in slices.

    Triton has matrix instructions for float64 on compute capability 8.0 and 9.0 alone.
    """
    return x.dtype is torch.float32 and chip_of(x.device).capability not in (0, 80, 90)


# --- how a kernel is cut --------------------------------------------------------------------------------------


class Tiles(NamedTuple):
    """How a kernel is cut: what may change its speed, and never its meaning.

    Args:
        BV: rows of the memory a program holds.
        num_warps: warps a program.
        num_stages: chunks in flight.
        BK: key channels a program holds, at most; a scan needs them all.
    """

    BV: int
    num_warps: int
    num_stages: int
    BK: int = 256


def of_capability(configs: Mapping[int, Entry], capability: int) -> Entry:
    """Return the entry of the highest capability that a device has, or the lowest entry if it has none."""
    return configs[max((least for least in configs if least <= capability), default=min(configs))]


def narrowed(tiles: Tiles, V: int) -> Tiles:
    """Take no more rows than V channels need."""
    return tiles._replace(BV=min(tiles.BV, max(16, triton.next_power_of_2(V))))


def tiles_of(configs: Mapping[int, dict[str, list[Tiles]]], K: int, V: int, x: Tensor) -> Tiles:
    """Choose the tiles of a kernel of the backward pass.

    Args:
        configs: what it may pick: by compute capability, then by dtype ("narrow" for two bytes, "float32"), then for
            keys of at most 128 channels and for wider ones.
        K: key channels.
        V: value channels.
        x: keys.
    """
    kind = "float32" if x.dtype is torch.float32 else "narrow"
    few, many = of_capability(configs, chip_of(x.device).capability)[kind]
    return narrowed(few if K <= 128 else many, V)


def most_registers(num_warps: int) -> int:
    """Say how many registers a thread of a program of so many warps may have: all there are.

    Where a kernel spills anyway, ptxas (12.8 and 13.0, with Triton 3.6) may settle for 64 or 128 of 255 registers and
    spill up to ten times as much, as if more programs could then share a multiprocessor. Some kernels that it starved
    like that computed wrong numbers, which the same PTX without optimisation, or with all registers, did not.
    """
    return min(255, 65536 // (32 * num_warps))
