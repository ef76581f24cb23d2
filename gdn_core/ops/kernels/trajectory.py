"""The trajectory kernel: any rules of the family over the same number of tokens, side by side in one launch.

The same source is compiled for NVIDIA GPUs and run by Triton's interpreter. In the interpreter an operation costs the
same at any size, so the rules are a tensor axis, one load fetches the four key-sided vectors of a token, one store
writes both readings, and the loop holds nothing that does not depend on the token. Importing this module imports
Triton, which decides at that moment, by TRITON_INTERPRET, whether kernels are compiled or interpreted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import triton
import triton.language as tl
from triton.language.standard import _sum_combine

from gdn_core.ops.kernels.operands import Floats32, Packed

BLOCK_NUMEL = 2048  # entries of memories in a program on a GPU; larger blocks were slower on an H200, wide ones 4 times


@triton.jit(do_not_specialize=["T", "V", "K"])
def trajectory_kernel(
    p_x,  # decay, erase, key, query: [R, T, 4K], interleaved
    p_v,  # gated values w*v: [R, T, V]
    p_wide,  # decays and keys that differ from row to row, flat
    p_table,  # int64 [R, 2, 4]: where they are; base, stride of t, of v, of k; first of the decay, then of the key
    p_rows,  # int64 [R]: rows of each memory, V or fewer
    p_S,  # memories: [R, V, K], before the first token; on return, after the last
    p_out,  # what was read before the write, and after it by the query: [R, T, V, 2]
    T,
    V,
    K,
    R: tl.constexpr,
    BR: tl.constexpr,
    BV: tl.constexpr,
    BK: tl.constexpr,
    WIDE_DECAY: tl.constexpr,
    WIDE_KEY: tl.constexpr,
    STEPS: tl.constexpr,  # T for the interpreter, whose loops need constant bounds in Triton 3.6; else None
):
    """Decay, error, write, read: as in :func:`gdn_core.reference.step`, for R rules and BV rows of their memories."""
    i_v = tl.program_id(0).to(tl.int64)  # rows of a memory are independent: each program has rows of its own
    o_r = tl.arange(0, BR).to(tl.int64)[:, None, None]
    o_v = (i_v * BV + tl.arange(0, BV))[None, :, None]
    o_k = tl.arange(0, BK).to(tl.int64)[None, None, :]
    o_2 = tl.arange(0, 2)[None, None, None, :]
    o_rx = tl.arange(0, BR).to(tl.int64)[:, None]
    o_x = tl.arange(0, 4 * BK).to(tl.int64)[None, :]

    m_r = o_r < R
    m_v = o_v < tl.load(p_rows + o_r, mask=m_r, other=0)
    m_S = m_v & (o_k < K)
    m_x = (o_rx < R) & (o_x < 4 * K)
    m_out = m_v[:, :, :, None] & (o_2 < 2)
    b_0S = tl.full([BR, BV, BK], 0.0, tl.float32)
    b_0v = tl.full([BR, BV, 1], 0.0, tl.float32)
    b_0x = tl.full([BR, 4 * BK], 0.0, tl.float32)

    p_x += o_rx * T * (4 * K) + o_x
    p_v += o_r * T * V + o_v
    p_out += (o_r * T * V + o_v)[:, :, :, None] * 2 + o_2
    p_S += (o_r * V + o_v) * K + o_k
    s_x = tl.full([BR, 4 * BK], 4, tl.int64) * K  # strides of t, at full size, so that the loop broadcasts nothing
    s_v = tl.full([BR, BV, 1], 1, tl.int64) * V
    s_out = tl.full([BR, BV, 1, 2], 2, tl.int64) * V
    s_0 = tl.full([BR, BV, BK], 0, tl.int64)
    p_table += 8 * o_r
    if WIDE_DECAY:
        s_v_a, s_k_a = tl.load(p_table + 2, mask=m_r, other=0), tl.load(p_table + 3, mask=m_r, other=0)
        p_a = p_wide + (tl.load(p_table, mask=m_r, other=0) + s_v_a * o_v + s_k_a * o_k)
        s_a = tl.load(p_table + 1, mask=m_r, other=0) + s_0
    if WIDE_KEY:
        s_v_k, s_k_k = tl.load(p_table + 6, mask=m_r, other=0), tl.load(p_table + 7, mask=m_r, other=0)
        p_k = p_wide + (tl.load(p_table + 4, mask=m_r, other=0) + s_v_k * o_v + s_k_k * o_k)
        s_k = tl.load(p_table + 5, mask=m_r, other=0) + s_0

    b_S = tl.load(p_S, mask=m_S, other=b_0S)
    for _ in range(T if STEPS is None else STEPS):
        b_x = tl.reshape(tl.load(p_x, mask=m_x, other=b_0x), [BR, 1, BK, 2, 2])
        b_ak, b_eq = tl.split(b_x)
        b_a, b_k = tl.split(b_ak)
        b_e, b_q = tl.split(b_eq)
        if WIDE_DECAY:
            b_a = tl.load(p_a, mask=m_S, other=b_0S)
            p_a += s_a
        if WIDE_KEY:
            b_k = tl.load(p_k, mask=m_S, other=b_0S)
            p_k += s_k
        b_v = tl.load(p_v, mask=m_v, other=b_0v)

        b_S *= b_a  # decay
        b_read = tl.reduce(b_S * b_e, 2, _sum_combine, keep_dims=True)
        b_u = b_v - b_read  # error
        b_S += b_u * b_k  # write
        b_o = tl.reduce(b_S * b_q, 2, _sum_combine, keep_dims=True)  # read

        tl.store(p_out, tl.join(b_read, b_o), mask=m_out)
        p_x += s_x
        p_v += s_v
        p_out += s_out
    tl.store(p_S, b_S, mask=m_S)


class Lent:
    """A NumPy array as an argument of a kernel in the interpreter: as much of a tensor as that asks for, and no copy.

    A worker that only interprets need not import PyTorch, which takes it a second.
    """

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.dtype, self.itemsize = array.dtype.name, array.itemsize
        self.pointer = {"float32": "*fp32", "int64": "*i64"}[self.dtype]  # its type in Triton

    def data_ptr(self) -> int:
        """Return the address of the first number."""
        return self.array.ctypes.data

    def untyped_storage(self) -> Lent:
        """Return what holds the numbers."""
        return self

    def cpu(self) -> Lent:
        """Return the numbers in the computer's memory."""
        return self

    def new_empty(self, _size: int, *, device: str) -> Lent:
        """Return an argument of this type, whose numbers :meth:`set_` gives."""
        assert device == "cpu"
        return Lent(self.array)

    def set_(self, storage: Lent, *_layout: Any) -> None:
        """Take the numbers of a storage."""
        assert storage.array is self.array

    def copy_(self, storage: Lent) -> None:
        """Take numbers back, which have been here all along."""
        assert storage.array is self.array

    def storage_offset(self) -> int:
        """Return how many numbers come before the first."""
        return 0

    def size(self) -> tuple[int, ...]:
        """Return the shape."""
        return self.array.shape

    def stride(self) -> tuple[int, ...]:
        """Return how many numbers lie between two entries of each axis."""
        return tuple(step // self.array.itemsize for step in self.array.strides)


def launch(packed: Packed, S: Floats32, *, device: str) -> tuple[Floats32, Floats32]:
    """Run the kernel once.

    Args:
        packed: the operands of R rules.
        S: memories before the first token, [R, V, K] float32, with V the rows of the tallest.
        device: "cuda", or "cpu" for the interpreter.

    Returns:
        What was read before and after each write, [R, T, V, 2], and the memories after the last token, [R, V, K];
        rows that a rule does not have are undefined.

    Raises:
        ValueError: if an array is not contiguous, or its dtype or size does not fit the others.
    """
    packed.check()
    R, T, V = packed.v.shape
    K = packed.K
    if S.shape != (R, V, K) or S.dtype != np.float32 or not S.flags.c_contiguous:
        raise ValueError(f"S: expected contiguous float32 [R, V, K] = {[R, V, K]}, got {S.dtype} {list(S.shape)}")
    BR, BV, BK = (triton.next_power_of_2(n) for n in (R, V, K))
    if device != "cpu":
        BV = max(1, min(BV, BLOCK_NUMEL // (BR * BK)))
    S, out = S.copy(), np.empty((R, T, V, 2), np.float32)
    given: list[Any] = [*packed.arrays().values(), S, out]
    if device == "cpu":
        given = [Lent(array) for array in given]
    else:
        import torch

        given = [torch.from_numpy(array).to(device) for array in given]
    trajectory_kernel[(triton.cdiv(V, BV),)](
        *given, T, V, K, R, BR, BV, BK, packed.wide_decay, packed.wide_key,
        STEPS=T if device == "cpu" else None,
        enable_fp_fusion=False,  # product and sum are each rounded, so that states can be recomputed bit for bit
    )  # fmt: skip
    return (out, S) if device == "cpu" else (given[-1].cpu().numpy(), given[-2].cpu().numpy())
