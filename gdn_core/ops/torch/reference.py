"""The reference on torch tensors, batched to the API's layout: slow, differentiable, and the definition itself.

:func:`gdn_core.reference.recurrent` runs under ``torch.vmap`` over batch and heads; only the layout is handled here.
The chunk form and the kernels are the fast versions.
"""

from __future__ import annotations

import torch

from gdn_core.reference import Token
from gdn_core.reference import recurrent as recurrent_of_one_head

Tensor = torch.Tensor


def recurrent(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    b: Tensor | None = None,
    w: Tensor | None = None,
    *,
    scale: float = 1.0,
    initial_state: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run any rule of the family, token by token.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H: value head i reads key head i // (HV / H).
        g: log decay in nats, [B, T, HV] or a decay a key channel [B, T, HV, K]; None for no decay.
        b: erase gate, [B, T, HV] or [B, T, HV, K]; None to erase nothing.
        w: write gate, [B, T, HV] or [B, T, HV, V]; None to write everything.
        scale: factor on the queries.
        initial_state: memory before the first token, [B, HV, V, K]; None for zero.

    Returns:
        Outputs [B, T, HV, V] and the memory after the last token [B, HV, V, K], in the dtype of the inputs.
    """
    B, T, HV, V = v.shape
    groups = HV // q.shape[2]
    q, k = (x.repeat_interleave(groups, dim=2) for x in (q * scale, k))
    none = v.new_zeros(B, T, HV, 1)
    g, b, w = (
        default if x is None else x if x.ndim == 4 else x[..., None]
        for x, default in ((g, none), (b, none), (w, none + 1))
    )
    S = v.new_zeros(B, HV, V, k.shape[-1]) if initial_state is None else initial_state

    def one_head(S: Tensor, *fields: Tensor) -> tuple[Tensor, Tensor]:
        return recurrent_of_one_head(S, Token(*fields), exp=torch.exp, stack=torch.stack)

    heads = torch.vmap(torch.vmap(one_head, in_dims=(0, *[1] * 6), out_dims=(0, 1)))
    S, o = heads(S, q, k, v, g[..., None, :], b, w)
    return o, S
