"""Padding: the tokens of a buffer behind the last packed sequence, for which outputs and gradients are zero."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.launches import device_of, launcher

BLOCK = 1024  # numbers a program clears at a time
PROGRAMS = 128


@triton.jit(do_not_specialize=["N", "T"])
def clear_padding_kernel(tensors, widths, cu_seqlens, N, T, BLOCK: tl.constexpr):
    """Store zeros from the last bound to the end of each tensor; a width is the numbers of one token."""
    last = tl.load(cu_seqlens + N).to(tl.int64)
    for i in tl.static_range(len(tensors)):
        stop = T.to(tl.int64) * widths[i]
        for start in range(last * widths[i] + tl.program_id(0) * BLOCK, stop, tl.num_programs(0) * BLOCK):
            o_x = start + tl.arange(0, BLOCK)
            tl.store(tensors[i] + o_x, tl.zeros((BLOCK,), tensors[i].dtype.element_ty), mask=o_x < stop)


def clear_padding(cu_seqlens: Tensor, *tensors: Tensor | None) -> None:
    """Store zeros behind the last packed sequence; its end is read on the device, and the host does not wait.

    Args:
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1].
        tensors: [1, T, ...], contiguous; None is skipped.
    """
    given = [x for x in tensors if x is not None]
    T = given[0].shape[1]
    widths = tuple(x[0, 0].numel() for x in given)
    programs = 1 if device_of(given[0]).type == "cpu" else PROGRAMS
    launcher(clear_padding_kernel, (programs,))(
        tuple(given), widths, cu_seqlens, cu_seqlens.shape[0] - 1, T, BLOCK=BLOCK
    )  # fmt: skip
