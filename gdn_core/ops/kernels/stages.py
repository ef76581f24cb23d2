"""The records that the stages of the chunk form pass on, and the number of tokens in a chunk.

Forward: prepare, scan. Backward: prepare, both scans, gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks

CHUNK = 64  # tokens in a chunk


def stored_dtypes(dtype: torch.dtype) -> tuple[torch.dtype, torch.dtype]:
    """Return the dtypes of ``Prepared.gates`` and ``Prepared.T`` for inputs of this dtype."""
    return (torch.float64, torch.float64) if dtype is torch.float32 else (torch.float32, dtype)


@dataclass(frozen=True)
class Prepared:
    """The part of each chunk that does not depend on the memory, with C = 64 tokens in a chunk, i and j two of them.

    Args:
        gates: four numbers for each token, [chunk, HV, 4, C]: the log decay summed from the chunk's start, G; the decay
            since the start, gamma = exp(G); the decay until the end, rest = exp(G_(C-1) - G); and beta. float32, or
            float64 for float32 keys.
        T: UT transform (I + Akk)^-1, with Akk_ij = Gamma_ij (k_i . k_j) beta_j for j < i and Gamma_ij = exp(G_i - G_j).
            Applied to v less what the memory before the chunk answers, it gives the errors before their gate, e; and
            v_new = beta e. The paper's T is diag(beta) times this one, since it has diag(beta) on the left of the
            product of keys and on the right of T. In the dtype of the keys, float64 for float32 ones.
            [chunk, HV, C, C]; if Aqk is None [chunk, HV, 48, 64]: the zeros above the second diagonal block of 32 are
            left out, and two rows of the first block are stored as one. None if nothing is erased.
        Aqk: scale Gamma_ij (q_i . k_j) for j <= i, [chunk, HV, C, C]; None if it was not requested.
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks.
        scale: factor on the queries.
        decay: whether the rule decays.
        erase: whether the rule erases.
    """

    gates: Tensor
    T: Tensor | None
    Aqk: Tensor | None
    cu_seqlens: Tensor
    chunks: Blocks
    scale: float
    decay: bool
    erase: bool


class Scanned(NamedTuple):
    """The results of the backward scans that the gradients of queries, keys and gates need.

    Args:
        e: the errors before their gate, [place, C, HV, V]; where nothing is erased, the values [..., HV, V].
        h: chunk state, the memory before the chunk at each place, [place, HV, V, K] in the dtype of k.
        dh: gradient of the memory after the chunk at each place, likewise.
    """

    e: Tensor
    h: Tensor
    dh: Tensor


class Gradients(NamedTuple):
    """Tensors for the gradients.

    Args:
        dq: of queries, [..., H, K].
        dk: of keys, [..., H, K].
        dg: of the log decay, one term for each block of key channels, to be summed: [..., HV, block] in the dtype of
            ``Prepared.gates``; None for no decay.
        dbeta: of beta, likewise; None if nothing is erased.
    """

    dq: Tensor
    dk: Tensor
    dg: Tensor | None
    dbeta: Tensor | None
