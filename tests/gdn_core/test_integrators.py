"""The gates of each integrator against the exponential of a block matrix and a linear solve, tiny steps included."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

from gdn_core import integrators
from gdn_core.reference import step
from gdn_core.rules import RULES
from gdn_core.streams import Stream, tokens

V, K = 2, 3
BETAS, LENGTHS, DECAYS = (0.0, 1e-12, 0.3, 2.0), (0.0, 1e-9, 1.0, 6.0), (0.0, -1e-10, -0.5, -60.0)


def one(beta: float, length: float, g: float) -> tuple[np.ndarray, Stream]:
    """Return a memory and a stream of one token whose key has this length."""
    draw = np.random.default_rng(4)
    S, k, v = draw.normal(size=(V, K)), draw.normal(size=K), draw.normal(size=V)
    k = k / np.linalg.norm(k) * length
    q = draw.normal(size=(1, K))
    gates = {"g": np.array([g]), "beta": np.array([beta]), "w": np.array([0.77]), "delta": np.ones(1)}
    return S, Stream(q=q, k=k[None], v=v[None], A=-np.ones(K), **gates)


def solved(S: np.ndarray, x: Stream, g: float) -> np.ndarray:
    """Oracle: solve dS/ds = g S + beta (v - S k) k' over [0, 1], rows as states, by an exponential of 40 digits."""
    beta, k = float(x.beta[0]), x.k[0]
    rate = g * np.eye(K) - beta * np.outer(k, k)
    with mpmath.workdps(40):
        end = mpmath.expm(mpmath.matrix(np.block([[rate, beta * k[:, None]], [np.zeros((1, K + 1))]]).tolist()))
        moved = np.array([[float(end[i, j]) for j in range(K + 1)] for i in range(K)])
    return S @ moved[:, :K].T + np.outer(x.v[0], moved[:, K])


@pytest.mark.parametrize("slug", ["efla", "exact-gated-delta"])
def test_the_exact_rules_solve_their_equation(slug: str) -> None:
    for beta in BETAS:
        for length in LENGTHS:
            for g in DECAYS if slug == "exact-gated-delta" else (0.0,):
                S, x = one(beta, length, g)
                got, _ = step(S, tokens(RULES[slug], x)[0])
                np.testing.assert_allclose(got, solved(S, x, g), rtol=1e-12, atol=1e-13, err_msg=f"{beta, length, g}")


def test_longhorn_is_the_implicit_step() -> None:
    for beta in BETAS:
        for length in LENGTHS:
            S, x = one(beta, length, 0.0)
            got, _ = step(S, tokens(RULES["longhorn"], x)[0])
            k, v = x.k[0], x.v[0]
            want = np.linalg.solve(np.eye(K) + beta * np.outer(k, k), (S + beta * np.outer(v, k)).T).T
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("z", [0.0, 1e-300, 1e-12, 0.5, 3.0, 700.0, 1e300])
def test_the_share_of_the_error_that_goes_is_accurate_for_every_z(z: float) -> None:
    with mpmath.workdps(60):
        want = [mpmath.mpf(z), mpmath.mpf(z) / (1 + mpmath.mpf(z)), -mpmath.expm1(-mpmath.mpf(z))]
    got = [integrators.explicit(z, 1.0), integrators.implicit(z, 1.0), integrators.exact(z, 1.0)[0]]
    np.testing.assert_allclose(np.array(got, dtype=float), np.array(want, dtype=float), rtol=4e-16)


def test_the_projection_answers_the_value() -> None:
    S, x = one(1.0, 3.0, 0.0)
    k, v = x.k[0], x.v[0]
    projected = S + integrators.projection(1.0, k @ k) * np.outer(v - S @ k, k)
    np.testing.assert_allclose(projected @ k, v, rtol=1e-13)


def test_the_write_gate_of_the_stream_is_ignored() -> None:
    _, x = one(0.3, 1.0, -0.5)
    gate = float(tokens(RULES["exact-gated-delta"], x).w[0, 0])
    assert gate != 0.77
    assert not RULES["exact-gated-delta"].writes_w and RULES["gated-deltanet-2"].writes_w
