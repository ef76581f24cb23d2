"""The recurrence in plain PyTorch, for decoding: all memories at once, on any device, without gradients.

For long sequences the chunk form computes the same in fewer, larger products.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor


def recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a scalar-gated rule of the family token by token.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0; None for no decay.
        beta: erase and write gate, [B, T, HV]; None to erase nothing and write everything.
        scale: factor on the queries.
        initial_state: memory before the first token, [B, HV, K, V]; None for zero. It is left as it was.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the memory after the last token, [B, HV, K, V], float32 (float64
        where v is).
    """
    B, T, HV, V = v.shape
    H, K = k.shape[2:]
    dtype = torch.promote_types(v.dtype, torch.float32)
    groups = HV // H

    def rows(x: Tensor, t: int) -> Tensor:
        """Return the keys or queries of a token as [B * HV, 1, K]."""
        x = x[:, t, :, None].to(dtype).expand(B, H, groups, K)
        return x.reshape(B * HV, 1, K)

    if initial_state is None:
        S = v.new_zeros(B * HV, K, V, dtype=dtype)
    else:
        S = initial_state.reshape(B * HV, K, V).to(dtype).contiguous()
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    for t in range(T):
        k_t, u = rows(k, t), v[:, t].to(dtype).reshape(B * HV, 1, V)
        S = S.clone() if g is None else S * g[:, t].to(dtype).exp().reshape(-1, 1, 1)  # decay
        if beta is not None:
            u = beta[:, t].to(dtype).reshape(-1, 1, 1) * (u - torch.bmm(k_t, S))  # error
        S.addcmul_(k_t.transpose(1, 2), u)  # write
        o[:, t] = (scale * torch.bmm(rows(q, t), S)).view(B, HV, V)  # read
    return o, S.view(B, HV, K, V)
