"""Tiles in shared memory that the Hopper kernels use: layouts, tensor maps, and clearing.

A tensor map is the descriptor by which the chip copies a tile with one instruction.
"""

from __future__ import annotations

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from gdn_core.ops.kernels.stages import CHUNK

TILES = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=2)
HALF_TILES = gl.NVMMASharedLayout(swizzle_byte_width=64, element_bitwidth=16, rank=2)
GATES = gl.NVMMASharedLayout(swizzle_byte_width=0, element_bitwidth=32, rank=2)
barrier = gl.barrier if hasattr(gl, "barrier") else gl.thread_barrier  # its name in Triton 3.6


@gluon.jit
def clear_rows(tile, rows, LAYOUT: gl.constexpr):
    """Clear the rows of a tile that belong to another sequence, since 0 times NaN is NaN.

    Args:
        tile: in shared memory, [tokens, channels].
        rows: the number of tokens of this sequence.
        LAYOUT: the distribution of the tile over threads.
    """
    o_t = gl.arange(0, tile.shape[0], layout=gl.SliceLayout(1, LAYOUT))
    tile.store(gl.where((o_t < rows)[:, None], tile.load(LAYOUT), 0.0))


def rows_of(x: Tensor | None, channels: int, tile: tuple[int, int]) -> TensorDescriptor | None:
    """Make a tensor map of a contiguous tensor as rows of ``channels`` two-byte numbers, to be copied in tiles."""
    if x is None:
        return None
    return TensorDescriptor(x, [x.numel() // channels, channels], [channels, 1], list(tile), TILES)


def lower_rows_of(T: Tensor | None) -> tuple[TensorDescriptor | None, TensorDescriptor | None]:
    """Make tensor maps of T in its form [chunk, HV, 48, 64]: of the first diagonal block, and of the rows below."""
    if T is None:
        return None, None
    half = CHUNK // 2
    first = TensorDescriptor(T, [T.numel() // half, half], [half, 1], [half, half], HALF_TILES)
    return first, rows_of(T, CHUNK, (half, CHUNK))


def gates_of(gates: Tensor) -> TensorDescriptor:
    """Make a tensor map of gates [chunk, HV, 4, 64] as rows, one for each chunk and value head."""
    size = 4 * CHUNK
    return TensorDescriptor(gates, [gates.numel() // size, size], [size, 1], [1, size], GATES)
