"""Facts about a GPU, which kernels fit it, and the choice of tiles."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple, TypeVar

import torch
import triton
from torch import Tensor

from gdn_core.ops.kernels.launches import device_of

Entry = TypeVar("Entry")


class Chip(NamedTuple):
    """The facts on which the choice of a kernel and its tiles depends.

    Args:
        processors: multiprocessors; 1 for a CPU, whose programs run one after the other.
        capability: compute capability as one number, 90 for 9.0; 0 for a CPU.
        memory: bytes of the device's memory; 0 for a CPU, whose memory is not looked up.
    """

    processors: int
    capability: int
    memory: int = 0


@lru_cache
def chip_of(device: torch.device) -> Chip:
    """Return the facts about a device."""
    if device.type != "cuda":
        return Chip(processors=1, capability=0)
    facts = torch.cuda.get_device_properties(device)
    return Chip(facts.multi_processor_count, 10 * facts.major + facts.minor, facts.total_memory)


# Which kernels fit.


def fits_hopper(K: int, *tensors: Tensor) -> bool:
    """Tell whether the kernels for Hopper support keys of K channels and these tensors.

    They need Hopper's matrix instruction, keys of 64 or 128 channels, operands of two bytes, and addresses that a
    tensor map may start at. A tensor map is the descriptor by which the chip copies a tile with one instruction.
    """
    x = tensors[0]
    return (
        K in (64, 128)
        and x.element_size() == 2
        and chip_of(device_of(x)).capability == 90
        and all(tensor.numel() > 0 and tensor.data_ptr() % 16 == 0 for tensor in tensors)
    )


def scans_on_hopper(K: int, V: int, *tensors: Tensor) -> bool:
    """Tell whether the forward and backward scans for Hopper support these."""
    return V % 64 == 0 and fits_hopper(K, *tensors)


def differentiates_on_hopper(K: int, V: int, *tensors: Tensor) -> bool:
    """Tell whether the gradient kernel for Hopper supports these."""
    return V in (64, 128) and fits_hopper(K, *tensors)


def fits_tensor_maps(K: int, V: int, BK: int, BV: int, x: Tensor) -> bool:
    """Tell whether a portable kernel can copy tiles [tokens, BK] and [tokens, BV] of such tensors by tensor maps.

    Needs compute capability 9.0 or higher, two-byte numbers, BK equal to K, and V a multiple of BV.
    """
    return x.element_size() == 2 and K == BK and V % BV == 0 and chip_of(device_of(x)).capability >= 90


def sliced(x: Tensor) -> bool:
    """Tell whether products of tensors like this one are taken in slices.

    Triton has matrix instructions for float64 on compute capability 8.0 and 9.0 alone.
    """
    return x.dtype is torch.float32 and chip_of(device_of(x)).capability not in (0, 80, 90)


# Tiles.


class Tiles(NamedTuple):
    """The tile sizes of a kernel. They affect its speed, and not its result.

    Args:
        BV: rows of the memory that a program holds.
        num_warps: warps of a program.
        num_stages: chunks in flight.
        BK: most key channels that a program holds; a scan needs them all.
    """

    BV: int
    num_warps: int
    num_stages: int
    BK: int = 256


def of_capability(configs: Mapping[int, Entry], capability: int) -> Entry:
    """Return the entry of the highest capability not above the device's; the lowest entry if there is none."""
    return configs[max((least for least in configs if least <= capability), default=min(configs))]


def narrowed(tiles: Tiles, V: int) -> Tiles:
    """Reduce BV to what V channels need."""
    return tiles._replace(BV=min(tiles.BV, max(16, triton.next_power_of_2(V))))


def tiles_of(configs: Mapping[int, dict[str, list[Tiles]]], K: int, V: int, x: Tensor) -> Tiles:
    """Choose the tiles of a kernel of the backward pass.

    Args:
        configs: tiles by compute capability, then by dtype ("narrow" for two bytes, "float32"), then for keys of at
            most 128 channels and for wider ones.
        K: key channels.
        V: value channels.
        x: keys.
    """
    kind = "float32" if x.dtype is torch.float32 else "narrow"
    few, many = of_capability(configs, chip_of(device_of(x)).capability)[kind]
    return narrowed(few if K <= 128 else many, V)


def most_registers(num_warps: int) -> int:
    """Return the most registers that a thread may have in a program of this many warps.

    It is passed to the compiler because of a fault: for a kernel that spills anyway, ptxas (12.8 and 13.0, with Triton
    3.6) may use only 64 or 128 of 255 registers and spill up to ten times as much. Some kernels compiled like that
    computed wrong numbers; the same PTX without optimisation, or with all registers, computed right ones.
    """
    return min(255, 65536 // (32 * num_warps))
