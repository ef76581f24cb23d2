"""Normalise queries and keys to unit length, forward and backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import EPSILON
from gdn_core.ops.kernels.launches import launcher


@triton.jit(do_not_specialize=["rows"])
def l2norm_kernel(x, y, rows, K: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr, EPSILON: tl.constexpr):
    """Normalise BR rows: y = x / sqrt(x . x + eps)."""
    o_r = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
    o_k = tl.arange(0, BK)
    o_x = o_r[:, None] * K + o_k[None, :]
    m_x = (o_r < rows)[:, None] & (o_k < K)[None, :]
    b_x = tl.load(x + o_x, mask=m_x, other=0.0).to(tl.float32)
    b_n = 1.0 / tl.sqrt(tl.sum(b_x * b_x, 1) + EPSILON)
    tl.store(y + o_x, (b_x * b_n[:, None]).to(y.dtype.element_ty), mask=m_x)


@triton.jit(do_not_specialize=["rows"])
def l2norm_backward_kernel(x, dy, dx, rows, K: tl.constexpr, BK: tl.constexpr, BR: tl.constexpr, EPSILON: tl.constexpr):
    """Compute the gradient of BR rows: dx = n dy - n^3 (x . dy) x with n = 1 / sqrt(x . x + eps)."""
    o_r = tl.program_id(0).to(tl.int64) * BR + tl.arange(0, BR)
    o_k = tl.arange(0, BK)
    o_x = o_r[:, None] * K + o_k[None, :]
    m_x = (o_r < rows)[:, None] & (o_k < K)[None, :]
    b_x = tl.load(x + o_x, mask=m_x, other=0.0).to(tl.float32)
    b_dy = tl.load(dy + o_x, mask=m_x, other=0.0).to(tl.float32)
    b_n = 1.0 / tl.sqrt(tl.sum(b_x * b_x, 1) + EPSILON)
    b_y = b_x * b_n[:, None]
    b_dx = b_n[:, None] * (b_dy - b_y * tl.sum(b_y * b_dy, 1)[:, None])
    tl.store(dx + o_x, b_dx.to(dx.dtype.element_ty), mask=m_x)


def l2norm(x: Tensor) -> Tensor:
    """Divide the rows of a contiguous tensor [..., K] by their l2 norm, 1e-6 added to its square.

    Args:
        x: queries or keys, K from 1 to 256; the sum is taken in float32.
    """
    y = torch.empty_like(x)
    K = x.shape[-1]
    BK, rows = triton.next_power_of_2(K), x.numel() // K
    BR = max(1, 4096 // BK)
    launcher(l2norm_kernel, (triton.cdiv(rows, BR),))(x, y, rows, K=K, BK=BK, BR=BR, EPSILON=EPSILON, num_warps=4)
    return y


def l2norm_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return the gradient of x from that of ``l2norm(x)``, both contiguous [..., K]."""
    dx = torch.empty_like(x)
    K = x.shape[-1]
    BK, rows = triton.next_power_of_2(K), x.numel() // K
    BR = max(1, 4096 // BK)
    launcher(l2norm_backward_kernel, (triton.cdiv(rows, BR),))(
        x, dy, dx, rows, K=K, BK=BK, BR=BR, EPSILON=EPSILON, num_warps=4
    )
    return dx
