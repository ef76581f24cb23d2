"""The arithmetic that the portable kernels share: in which dtype they multiply and add, and how."""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = 1e-6  # inside the root of a norm


@triton.constexpr_function
def operand_dtype(dtype):
    """Name the dtype in which inputs of this one are multiplied.

    float64 for float32: where tokens undo each other an error is a small difference of large numbers. And matrix units
    have no float32: what stands in for it, three products of tf32, takes more registers than one of float64.
    """
    return tl.float64 if dtype == tl.float32 else dtype


@triton.constexpr_function
def sum_dtype(dtype):
    """Name the dtype in which products of inputs of this one are added."""
    return tl.float64 if dtype == tl.float32 else tl.float32


@triton.constexpr_function
def least_log(dtype):
    """Name a log decay whose exponential is 0 in this dtype, and which sums of it leave digits for others beside.

    A log decay below it is taken for it: minus infinity has no differences, and a sum with -1e15 keeps no digit of the
    tokens after it.
    """
    return -800.0 if dtype == tl.float64 else -105.0


@triton.jit
def finite(b_x):
    """Tell which numbers are neither NaN nor infinite."""
    return tl.abs(b_x) < float("inf")


@triton.jit
def dot(b_x, b_y, b_sum=None, SLICED: tl.constexpr = False):
    """Return b_x b_y, added to b_sum: in float64 for operands that are, else in float32.

    SLICED takes 16 columns of the one and rows of the other at a time: where there is no matrix instruction all that is
    multiplied at once goes through shared memory and registers, which do not hold it.
    """
    SUM: tl.constexpr = tl.float64 if b_x.dtype == tl.float64 else tl.float32
    PARTS: tl.constexpr = b_x.shape[1] // 16 if SLICED else 1
    if PARTS > 1:
        b_x = tl.reshape(b_x, (b_x.shape[0], PARTS, 16))
        b_y = tl.reshape(b_y, (PARTS, 16, b_y.shape[1]))
        o_p = tl.arange(0, PARTS)
        if b_sum is None:
            b_sum = tl.zeros((b_x.shape[0], b_y.shape[2]), SUM)
        for i in range(PARTS):
            b_columns = tl.sum(tl.where(o_p[None, :, None] == i, b_x, 0.0), 1)
            b_rows = tl.sum(tl.where(o_p[:, None, None] == i, b_y, 0.0), 0)
            b_sum = tl.dot(b_columns, b_rows, b_sum, out_dtype=SUM)
    else:
        b_sum = tl.dot(b_x, b_y, b_sum, out_dtype=SUM)
    return b_sum
