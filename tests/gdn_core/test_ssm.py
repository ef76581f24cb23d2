"""Discretisations against the exponential of a block matrix, and state space models as tokens of the memory."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gdn_core import ssm
from gdn_core.reference import chunkwise, recurrent
from gdn_core.rules import Discretisation


def held_input(a: float, delta: float) -> tuple[float, float]:
    """Oracle: solve h' = a h + u exactly with u held, by the exponential of [[a, 1], [0, 0]] delta (Van Loan)."""
    with mpmath.workdps(40):
        block = mpmath.expm(mpmath.matrix([[a, 1], [0, 0]]) * delta)
        return float(block[0, 0]), float(block[0, 1])


@pytest.mark.parametrize("delta", [1e-9, 1e-3, 0.1, 1.0, 20.0])
@pytest.mark.parametrize("a", [-30.0, -1.0, -1e-6, 0.0])
def test_zero_order_hold_solves_the_ode_with_the_input_held(a: float, delta: float) -> None:
    np.testing.assert_allclose(ssm.zoh(np.array(a), delta), held_input(a, delta), rtol=1e-14)


@pytest.mark.parametrize(("method", "order"), [("euler", 2), ("mamba", 2), ("bilinear", 3), ("trapezoidal", 3)])
def test_each_rule_has_the_local_order_it_is_known_for(method: str, order: int) -> None:
    def error(delta: float) -> float:
        """Of one step from h = 1 under the input u(s) = 1 + s, whose exact end is known."""
        a = -0.7
        phi = [np.exp(a * delta), held_input(a, delta)[1]]
        exact = phi[0] + phi[1] + (phi[1] - delta) / a  # the last term: the ramp
        ends = 1.0, 1.0 + delta
        if method == "trapezoidal":
            decay, before, now = ssm.exponential_trapezoidal(np.array(a), delta, 0.5)
            return abs(decay + before * ends[0] + now * ends[1] - exact)
        decay, factor = getattr(ssm, method)(np.array(a), delta)
        middle = sum(ends) / 2 if method == "bilinear" else ends[0]
        return abs(decay + factor * middle - exact)

    slope = np.log2(error(2e-3) / error(1e-3))
    assert abs(slope - order) < 0.05


def test_lambda_one_of_the_trapezoidal_rule_is_mambas() -> None:
    a, delta = np.array([-1.0, -3.0]), 0.3
    decay, before, now = ssm.exponential_trapezoidal(a, delta, 1.0)
    assert (before == 0).all()
    np.testing.assert_array_equal(
        (decay, np.full(2, now)), (ssm.mamba(a, delta)[0], np.full(2, ssm.mamba(a, delta)[1]))
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", Discretisation)
def test_a_state_space_model_is_a_stream_of_tokens(method: Discretisation, channels: int) -> None:
    rng = np.random.default_rng(2)
    T, V, K = 17, 3, 4
    u, B, C = rng.normal(size=(T, V)), rng.normal(size=(T, K)), rng.normal(size=(T, K))
    delta, A = rng.random((T, channels)), -rng.random((V, K)) * 5
    x = ssm.tokens(u, delta, A, B, C, method=method)
    h, want = rng.normal(size=(V, K)), []
    S = h.copy()
    for t in range(T):
        for d in range(V):
            step = delta[t, d % channels]
            for n in range(K):
                decay, factor = held_input(A[d, n], step)
                h[d, n] = decay * h[d, n] + (factor if method is Discretisation.ZOH else step) * B[t, n] * u[t, d]
        want.append(h @ C[t])
    for got_S, got_o in (recurrent(S, x), chunkwise(S, x, chunk_size=5)):
        np.testing.assert_allclose(got_S, h, atol=1e-12)
        np.testing.assert_allclose(got_o, want, atol=1e-12)
