"""Packed sequences: each gives the same bits as alone, gradients included; and the arithmetic of their bounds."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F

if not torch.cuda.is_available():  # read when a kernel is decorated, so before any is imported
    os.environ["TRITON_INTERPRET"] = "1"

from gdn_core.ops import api, varlen

KERNELS = "triton" if torch.cuda.is_available() else "interpreter"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LENGTHS = (5, 0, 1, 40, 1)
K, V, H, HV = 6, 9, 1, 2

Case = dict[str, Any]


def draw(lengths: tuple[int, ...] = LENGTHS) -> tuple[Case, torch.Tensor]:
    torch.manual_seed(sum(lengths))
    T, N = sum(lengths), len(lengths)
    case = {
        "q": torch.randn(1, T, H, K),
        "k": F.normalize(torch.randn(1, T, H, K), dim=-1),
        "v": torch.randn(1, T, HV, V),
        "g": -torch.rand(1, T, HV),
        "beta": 2 * torch.rand(1, T, HV),
        "initial_state": torch.randn(N, HV, K, V),
    }
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    return {name: x.to(DEVICE) for name, x in case.items()}, bounds.to(DEVICE)


def outputs_and_gradients(function: Any, case: Case, **options: Any) -> dict[str, torch.Tensor]:
    given = {name: x.detach().clone().requires_grad_() for name, x in case.items()}
    o, S = function(**given, output_final_state=True, **options)
    (o.sin().sum() + S.square().sum()).backward()
    return {"o": o.detach(), "S": S.detach()} | {name: x.grad for name, x in given.items()}


@pytest.mark.parametrize("backend", ["torch", KERNELS])
def test_packed_sequences_are_separate_ones_bit_for_bit(backend: str) -> None:
    case, cu_seqlens = draw()
    packed = outputs_and_gradients(api.chunk_gated_delta_rule, case, cu_seqlens=cu_seqlens, backend=backend)
    for n, (start, stop) in enumerate(pairwise(cu_seqlens.tolist())):
        if start == stop:
            assert torch.equal(packed["S"][n], case["initial_state"][n])
            torch.testing.assert_close(packed["initial_state"][n], 2 * case["initial_state"][n])
            continue
        own = {name: x[n : n + 1] if name == "initial_state" else x[:, start:stop] for name, x in case.items()}
        alone = outputs_and_gradients(api.chunk_gated_delta_rule, own, backend=backend)
        for name, x in alone.items():
            part = packed[name][n : n + 1] if name in ("S", "initial_state") else packed[name][:, start:stop]
            assert torch.equal(part, x), (n, name)


@pytest.mark.parametrize("backend", ["torch", KERNELS])
@pytest.mark.parametrize("lengths", [LENGTHS, (1, 1, 1, 1), (3, 3)])
@torch.no_grad()
def test_decoding_many_sequences_is_decoding_each(lengths: tuple[int, ...], backend: str) -> None:
    case, cu_seqlens = draw(lengths)
    options = {"output_final_state": True, "backend": backend}
    o, S = api.fused_recurrent_gated_delta_rule(**case, cu_seqlens=cu_seqlens.int(), **options)
    for n, (start, stop) in enumerate(pairwise(cu_seqlens.tolist())):
        if start == stop:
            assert torch.equal(S[n], case["initial_state"][n])
            continue
        own = {name: x[n : n + 1] if name == "initial_state" else x[:, start:stop] for name, x in case.items()}
        alone, end = api.fused_recurrent_gated_delta_rule(**own, **options)
        assert torch.equal(o[:, start:stop], alone) and torch.equal(S[n : n + 1], end)


def test_the_sum_of_keys_of_a_packed_sequence_begins_anew() -> None:
    case, cu_seqlens = draw((4, 0, 3))
    q, k, v = case["q"].exp(), case["k"].exp(), case["v"]
    o, (_, keys) = api.chunk_linear_attn(q, k, v, cu_seqlens=cu_seqlens, output_final_state=True)
    torch.testing.assert_close(keys[:, 0], torch.stack([k[0, :4].sum(0), torch.zeros_like(k[0, 0]), k[0, 4:].sum(0)]))
    torch.testing.assert_close(o[:, 4:], api.chunk_linear_attn(q[:, 4:], k[:, 4:], v[:, 4:])[0])


def test_bounds_say_how_many_sequences_and_at_most_how_many_blocks_there_are() -> None:
    bounds = torch.tensor([0, 5, 5, 6, 46, 47])
    assert varlen.count(bounds, 1) == 5 and varlen.count(None, 3) == 3
    assert [tokens.stop - tokens.start for tokens in varlen.slices(bounds)] == list(LENGTHS)
    needed = sum(-(-length // 16) for length in LENGTHS)
    assert needed <= varlen.most_blocks(47, 16, bounds) <= needed + 5
    assert varlen.most_blocks(47, 16, None) == 3
