"""The batched reference against the reference of one head, and its gradients against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gdn_core import reference
from gdn_core.ops.torch import reference as torch_reference

B, T, H, HV, K, V = 2, 6, 2, 4, 3, 5


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("wide", [False, True])
def test_every_head_is_the_reference_of_one_head(wide: bool) -> None:
    q, k, v, S = draw(B, T, H, K), draw(B, T, H, K), draw(B, T, HV, V), draw(B, HV, V, K)
    g, b, w = -draw(B, T, HV, K).abs(), draw(B, T, HV, K), draw(B, T, HV, V)
    if not wide:
        g, b, w = g[..., 0], b[..., 0], w[..., 0]
    o, end = torch_reference.recurrent(q, k, v, g, b, w, scale=0.3, initial_state=S)
    for i in range(B):
        for h in range(HV):
            columns = (f[i, :, h].numpy().reshape(T, -1) for f in (g, b, w))
            g1, b1, w1 = columns
            x = reference.Token(
                q=0.3 * q[i, :, h // 2].numpy(),
                k=k[i, :, h // 2].numpy(),
                v=v[i, :, h].numpy(),
                g=g1[:, None],
                b=b1,
                w=w1,
            )
            want_S, want_o = reference.recurrent(S[i, h].numpy(), x)
            np.testing.assert_allclose(end[i, h], want_S, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(o[i, :, h], want_o, rtol=1e-12, atol=1e-12)


def test_without_gates_it_is_linear_attention() -> None:
    q, k, v = draw(B, T, H, K), draw(B, T, H, K), draw(B, T, H, V)
    o, S = torch_reference.recurrent(q, k, v)
    causal = torch.einsum("bthk,bshk->bhts", q, k).tril()
    torch.testing.assert_close(o, torch.einsum("bhts,bshv->bthv", causal, v))
    torch.testing.assert_close(S, torch.einsum("bshv,bshk->bhvk", v, k))


def test_gradients_agree_with_finite_differences() -> None:
    inputs = [draw(1, 4, 1, 2), draw(1, 4, 1, 2), draw(1, 4, 2, 3), -draw(1, 4, 2).abs(), draw(1, 4, 2), draw(1, 4, 2)]
    state = draw(1, 2, 3, 2)
    tensors = [x.requires_grad_() for x in (*inputs, state)]
    assert torch.autograd.gradcheck(lambda *x: torch_reference.recurrent(*x[:6], initial_state=x[6]), tensors)
