"""The widths of gates, as constants of compilation; the dtype that kernels compute in; and memories as arguments."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Widths(NamedTuple):
    """Numbers of each gate for a token and head: 0 for an absent gate, 1, or as many as channels.

    Args:
        DECAY: of the decay, 0, 1 or K.
        ERASE: of the erase gate, 0, 1 or K.
        WRITE: of the write gate, 0, 1 or V; 0 where it is the erase gate, too.
        TIED: whether the erase gate is the write gate.
    """

    DECAY: int
    ERASE: int
    WRITE: int
    TIED: bool

    @classmethod
    def of(cls, g: Tensor | None, beta: Tensor | None, w: Tensor | None) -> Widths:
        """Return the widths of gates [B, T, HV] or [B, T, HV, D]."""
        DECAY, ERASE, WRITE = (0 if x is None else 1 if x.ndim == 3 else x.shape[-1] for x in (g, beta, w))
        return cls(DECAY, ERASE, WRITE, w is None and beta is not None)


@triton.constexpr_function
def computing_dtype(dtype):
    """Return the dtype that inputs of this dtype are multiplied and added in.

    float32 inputs take float64, as in the kernels for scalar decays. Inputs of two bytes take float32, whose products
    are of tf32: decays are factors of keys and queries here, and in two bytes these would be rounded again.
    """
    return tl.float64 if dtype == tl.float32 else tl.float32


@triton.jit
def load_gate(x, o_t, i_hv, HV, m_t, o_d, m_d, WIDTH: tl.constexpr):
    """Load the gates of tokens as [tokens, 1 or D], with 0 behind the sequence."""
    o_row = o_t[:, None] * HV + i_hv
    if WIDTH == 1:
        b_x = tl.load(x + o_row, mask=m_t[:, None], other=0.0)
    else:
        b_x = tl.load(x + o_row * WIDTH + o_d[None, :], mask=m_t[:, None] & m_d[None, :], other=0.0)
    return b_x


def memories(N: int, HV: int, K: int, V: int, device: torch.device, *, state_v_first: bool) -> Tensor:
    """Allocate a memory for each sequence and value head, float32, in the layout that the caller has."""
    last = (V, K) if state_v_first else (K, V)
    return torch.empty(N, HV, *last, dtype=torch.float32, device=device)


def strides(x: Tensor | None, state_v_first: bool) -> tuple[int, ...]:
    """Return a memory's strides over sequences, heads, key channels and value channels."""
    if x is None:
        return 0, 0, 0, 0
    n, h, *channels = x.stride()
    return (n, h, *(reversed(channels) if state_v_first else channels))
