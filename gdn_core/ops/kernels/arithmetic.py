"""The arithmetic that the portable kernels share: the dtypes in which they multiply and add, and the product."""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = 1e-6  # added under the root of a norm


@triton.constexpr_function
def operand_dtype(dtype):
    """Return the dtype in which inputs of this dtype are multiplied.

    float64 for float32, for two reasons. Where tokens cancel each other, an error is a small difference of large
    numbers. And matrix units have no float32: its substitute, three tf32 products, needs more registers than one
    float64 product.
    """
    return tl.float64 if dtype == tl.float32 else dtype


@triton.constexpr_function
def sum_dtype(dtype):
    """Return the dtype in which products of inputs of this dtype are added."""
    return tl.float64 if dtype == tl.float32 else tl.float32


@triton.constexpr_function
def least_log(dtype):
    """Return the least log decay that is summed in this dtype; its exponential is 0.

    Smaller log decays are clamped to it: differences of minus infinity are NaN, and a sum with -1e15 loses the digits
    of the tokens after it.
    """
    return -800.0 if dtype == tl.float64 else -105.0


@triton.jit
def finite(b_x):
    """Tell which numbers are neither NaN nor infinite."""
    return tl.abs(b_x) < float("inf")


@triton.jit
def dot(b_x, b_y, b_sum=None, SLICED: tl.constexpr = False):
    """Return b_x b_y + b_sum, summed in float64 for float64 operands, else in float32.

    SLICED multiplies 16 columns of b_x by 16 rows of b_y at a time: without a matrix instruction whole operands pass
    through shared memory and registers, and do not fit there.
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
