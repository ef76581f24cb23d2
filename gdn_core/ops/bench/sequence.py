"""A kernel that does nothing but the two products by which one chunk waits for another."""

from __future__ import annotations

import torch
import triton
import triton.language as tl


@triton.jit
def chunks_in_sequence(p_w, p_k, p_S, n, K: tl.constexpr, C: tl.constexpr, BV: tl.constexpr):
    """Run n chunks on one memory."""
    o_c, o_k, o_v = tl.arange(0, C), tl.arange(0, K), tl.arange(0, BV)
    b_w = tl.load(p_w + o_c[:, None] * K + o_k[None, :])  # [C, K]
    b_k = tl.load(p_k + o_k[:, None] * C + o_c[None, :])  # [K, C]
    b_S = tl.load(p_S + o_k[:, None] * BV + o_v[None, :])  # [K, BV]
    for _ in range(n):
        b_u = tl.dot(b_w, b_S.to(b_w.dtype))  # error: waits for the memory
        b_S -= tl.dot(b_k, b_u.to(b_w.dtype))  # write: waits for the error
    tl.store(p_S + o_k[:, None] * BV + o_v[None, :], b_S)


def in_sequence(n: int, K: int, C: int, BV: int, device: str) -> torch.Tensor:
    """Run n chunks one after the other and return the memory [K, BV], float32."""
    kept = _operands.get((K, C, BV, device))
    if kept is None:
        generator = torch.Generator().manual_seed(0)
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        w, k = (torch.randn(*shape, generator=generator) * (C * K) ** -0.5 for shape in ((C, K), (K, C)))
        w, k = w.to(device, dtype), k.to(device, dtype)
        kept = _operands[K, C, BV, device] = (w, k, torch.randn(K, BV, generator=generator).to(device))
    w, k, start = kept
    S = start.clone()
    chunks_in_sequence[(1,)](w, k, S, n, K=K, C=C, BV=BV)
    return S


_operands: dict[tuple[int, int, int, str], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
