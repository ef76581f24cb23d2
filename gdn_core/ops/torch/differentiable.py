"""The chunk form in ordinary PyTorch operations, which PyTorch differentiates and maps; no buffer is reused.

Gates by channel go to :mod:`gdn_core.ops.torch.channels`, whose forward pass is of ordinary operations too.

It replaces the operators where they have no rule: forward-mode derivatives, the transforms of ``torch.func``, and
second derivatives. It computes the same function in the same precision as :mod:`gdn_core.ops.torch.chunk`, but slower,
and keeps all intermediate results for the backward pass.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F

from gdn_core.ops.torch import channels, precision
from gdn_core.ops.torch.chunk import CHUNK_SIZE

Tensor = torch.Tensor


def chunk(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    scale: float,
    w: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a rule of the family in chunks, over a batch or over packed sequences.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV] or [B, T, HV, K], <= 0; None for no decay.
        beta: erase gate, [B, T, HV] or [B, T, HV, K], in [0, 2]; None to erase nothing.
        state: memory before each sequence, [N, HV, K, V]; None for zero.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; None for a batch.
        scale: factor on the queries.
        w: write gate, [B, T, HV] or [B, T, HV, V]; None for beta, or to write everything where beta is None.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the memory after each sequence, [N, HV, K, V], float32 (float64
        where v is).
    """
    B, T, HV, V = v.shape
    N = B if cu_seqlens is None else cu_seqlens.shape[0] - 1
    dtype = torch.promote_types(v.dtype, torch.float32)
    if state is None:
        state = torch.zeros(N, HV, k.shape[-1], V, dtype=dtype, device=v.device)
    if cu_seqlens is None:
        return _batch(q, k, v, g, beta, w, state, scale)
    bounds = cu_seqlens.tolist()
    outputs, states = [], []
    for n, (start, stop) in enumerate(pairwise(bounds)):
        own_g, own_beta, own_w = (None if x is None else x[:, start:stop] for x in (g, beta, w))
        own_q, own_k, own_v = (x[:, start:stop] for x in (q, k, v))
        o, S = _batch(own_q, own_k, own_v, own_g, own_beta, own_w, state[n : n + 1], scale)
        outputs.append(o)
        states.append(S)
    outputs.append(torch.zeros(1, T - bounds[-1], HV, V, dtype=v.dtype, device=v.device))
    return torch.cat(outputs, 1), torch.cat(states)


def _batch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    S: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Run sequences of one length."""
    if channels.by_channel(g, beta, w):
        return channels.forward(q, k, v, g, beta, w, scale=scale, initial_state=S, guarded=True)
    B, T, HV, _ = v.shape
    dtype, wide = torch.promote_types(v.dtype, torch.float32), precision.wide(v.device)
    C = CHUNK_SIZE
    n = -(-T // C)
    keys, queries, values = (_cut(x, HV, dtype) for x in (k, q, v))  # [B, HV, n, C, D]
    none = torch.zeros(B, HV, n, C, 1, dtype=wide, device=v.device)
    b = none + 1 if beta is None else _cut(beta[..., None], HV, wide)
    logs = none if g is None else _cut(g[..., None], HV, wide)
    resets = logs <= precision.FORGETS[wide]
    G, counts = logs.masked_fill(resets, 0).cumsum(-2), resets.cumsum(-2)
    lower = torch.ones(C, C, dtype=torch.bool, device=v.device).tril()
    seen = lower & (counts == counts.mT)
    between = (G - G.mT).masked_fill(~seen, 0).exp().masked_fill(~seen, 0)  # [B, HV, n, C, C], from token j to token i
    so_far = G.exp().masked_fill(counts > 0, 0)
    left = (G[..., -1:, :] - G).exp().masked_fill(counts[..., -1:, :] != counts, 0)
    Aqk = ((queries @ keys.mT).masked_fill(~lower, 0) * (between * b.mT).to(dtype)).masked_fill(~lower, 0)
    reading, writing = so_far * keys, (left * b).to(dtype) * keys
    one = torch.eye(C, dtype=wide, device=v.device)
    Akk = keys.to(wide) @ keys.to(wide).mT * between * b.mT
    outputs = []
    for i in range(n):
        u = values[:, :, i]
        if beta is not None:
            right = u.to(wide) - reading[:, :, i] @ S.to(wide)
            u = torch.linalg.solve_triangular(Akk[:, :, i].tril(-1) + one, right, upper=False, unitriangular=True).to(
                dtype
            )  # error
        rows = so_far[:, :, i].to(dtype)
        outputs.append((rows * (queries[:, :, i] @ S) + Aqk[:, :, i] @ u) * scale)  # read
        S = S * rows[:, :, -1:] + writing[:, :, i].mT @ u  # decay, write
    if not outputs:
        return torch.zeros(v.shape, dtype=v.dtype, device=v.device), S
    o = torch.stack(outputs, 2).flatten(2, 3)[:, :, :T]
    return o.transpose(1, 2).to(v.dtype), S


def _cut(x: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Return tokens [B, T, H, D] as chunks [B, heads, n, C, D], each key head repeated for its value heads."""
    _, T, H, _ = x.shape
    x = F.pad(x, (0, 0, 0, 0, 0, -T % CHUNK_SIZE)).unflatten(1, (-1, CHUNK_SIZE)).permute(0, 3, 1, 2, 4)
    return x.to(dtype).repeat_interleave(heads // H, dim=1)
