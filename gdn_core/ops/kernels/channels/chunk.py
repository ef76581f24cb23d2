"""The chunk form with gates by channel: prepare the chunks, then scan them."""

from __future__ import annotations

from torch import Tensor

from gdn_core.ops.kernels.blocks import batch, cut, cut_batch
from gdn_core.ops.kernels.channels.prepare import CHUNK, prepare
from gdn_core.ops.kernels.channels.scan import scan
from gdn_core.ops.kernels.launches import device_of
from gdn_core.ops.kernels.padding import clear_padding


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run the chunk form; arguments and results as of ``steps.steps``, without a norm."""
    B, T = q.shape[:2]
    if cu_seqlens is None:
        device = device_of(q)
        starts, chunks = batch(B, T, device), cut_batch(B, T, CHUNK, device)
    else:
        starts, (chunks, _) = cu_seqlens, cut(cu_seqlens, total=B * T, size=CHUNK, size_2=CHUNK)
    state = initial_state.transpose(-1, -2) if initial_state is not None and state_v_first else initial_state
    prepared = prepare(q, k, g, beta, HV=v.shape[2], scale=scale, chunks=chunks)
    o, ends = scan(v, g, beta, w, prepared, state, cu_seqlens=starts, chunks=chunks)
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, o)
    if not output_final_state:
        return o, None
    return o, ends if state_v_first else ends.transpose(-1, -2)
