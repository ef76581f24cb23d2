"""What claims state, compared with float64 arithmetic that shares nothing with the engines."""

import numpy as np
import pytest

from derivations.claims.discretisation.rounding import exact_phi1
from derivations.claims.family.same_rule import state_space
from derivations.claims.linear_attention import costs, normaliser
from derivations.claims.state_space.convolution import lag_one
from gdn_core import reference, ssm, streams
from gdn_core.reference import Token
from gdn_core.rules import RULES


def test_the_exact_phi1_is_the_integral_of_the_exponential():
    points = np.polynomial.legendre.leggauss(40)
    for z in (-5.0, -0.3, 1e-9, 2.5):
        integral = (np.exp(z * (points[0] + 1) / 2) * points[1]).sum() / 2
        assert float(exact_phi1(z)) == pytest.approx(integral, rel=1e-13)


def test_the_held_equation_is_solved_by_small_steps_too():
    a, delta, h, u = -1.7, 0.9, 0.4, 2.0
    steps = 20_000
    moved = h
    for _ in range(steps):  # midpoint rule
        half = moved + delta / steps / 2 * (a * moved + u)
        moved += delta / steps * (a * half + u)
    decay, factor = ssm.zoh(a, delta)
    assert decay * h + factor * u == pytest.approx(moved, rel=1e-8)


def test_the_answers_to_an_impulse_are_those_of_floats():
    for deltas in ((1, 1, 2), (2, 1, 3)):
        decays = 2.0 ** -np.array(deltas, dtype=float)
        assert [float(x) for x in lag_one(deltas)] == [decays[1] * deltas[0], decays[2] * deltas[1]]


def test_the_memory_of_dk_plus_one_pairs_leaves_an_error_that_no_matrix_removes():
    rng = np.random.default_rng(3)
    keys = rng.normal(size=(4, 3))
    c = np.linalg.svd(keys.T)[2][-1]
    values = np.outer(c, [1.0, -2.0])
    best = np.linalg.lstsq(keys, values, rcond=None)[0]
    assert np.abs(c @ keys).max() < 1e-12
    assert c @ (keys @ best - values) == pytest.approx(-(c @ c) * np.array([1.0, -2.0]))


def test_longhorns_row_is_the_solution_of_its_normal_equations():
    rng = np.random.default_rng(4)
    row, key, value, beta = rng.normal(size=3), rng.normal(size=3), 1.3, 0.7
    solved = np.linalg.solve(np.eye(3) + beta * np.outer(key, key), row + beta * value * key)
    gate = np.array([beta / (1 + beta * key @ key)])
    x = reference.Token(q=key, k=key, v=np.array([value]), g=np.zeros((1, 1)), b=gate, w=gate)
    made, _ = reference.step(row[None], x)
    assert made[0] == pytest.approx(solved)


def stream(rng, T, V, K, decay=1.0):
    g, b = -decay * rng.uniform(0.1, 1, (T, 1, 1)), rng.uniform(0, 2, (T, 1))
    return Token(q=rng.normal(size=(T, K)), k=rng.normal(size=(T, K)), v=rng.normal(size=(T, V)), g=g, b=b, w=b)


def test_effective_attention_is_a_solve_in_floats():
    x = stream(np.random.default_rng(0), 9, 4, 3)
    G = np.cumsum(x.g[:, 0, 0])
    Gamma = np.tril(np.exp(np.minimum(G[:, None] - G, 0)))
    system = np.eye(9) + np.tril(x.b * (x.k @ x.k.T) * Gamma, -1)
    A = ((x.q @ x.k.T) * Gamma) @ np.linalg.solve(system, np.diag(x.b[:, 0]))
    _, o = reference.recurrent(np.zeros((4, 3)), x)
    assert A @ x.v == pytest.approx(o)


def test_the_limit_of_gated_deltanet_is_mamba_2_at_second_order():
    rng = np.random.default_rng(1)
    x, S = stream(rng, 6, 4, 3), rng.normal(size=(4, 3))
    none, one = np.zeros((6, 1)), np.ones((6, 1))
    want, _ = reference.recurrent(S, Token(q=x.q, k=x.k, v=x.v, g=x.g, b=none, w=one))
    errors = []
    for eps in (1e-2, 5e-3):
        tied = Token(q=x.q, k=eps * x.k, v=x.v / eps, g=x.g, b=one, w=one)
        errors.append(np.abs(reference.recurrent(S, tied)[0] - want).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_the_gated_delta_rule_minimises_its_objective_in_floats():
    rng = np.random.default_rng(2)
    x, S = stream(rng, 1, 4, 3)[0], rng.normal(size=(4, 3))
    decayed = np.exp(x.g) * S

    def objective(M):
        return ((M - decayed) ** 2).sum() - 2 * (M @ x.k) @ (x.b * (x.v - decayed @ x.k))

    written, _ = reference.step(S, x)
    for _ in range(20):
        away = rng.normal(size=S.shape)
        assert objective(written + away) - objective(written) == pytest.approx((away**2).sum())


def test_attention_answers_a_mean_and_linear_attention_a_sum():
    answered = normaliser.answers((1, 2, 3), (4, 4, 4))
    assert [float(a) for a in answered["linear-attention"]] == [4, 12, 24]
    assert [float(a) for a in answered["linear-attention-normalised"]] == pytest.approx([4, 4, 4])


def test_the_counted_costs_cross_where_the_memory_is_as_wide_as_the_stream_is_long():
    V = K = 8
    short, long = 8, 64
    assert costs.of_chunk(short, V, K) < costs.of_chunk(long, V, K) / (long / short)
    ratio = costs.of_chunk(2 * 4096, V, K) / costs.of_chunk(4096, V, K)
    assert ratio == pytest.approx(4, rel=0.01)
    assert costs.of_recurrence(2 * 4096, V, K) == 2 * costs.of_recurrence(4096, V, K)


def test_s4_and_mamba_make_the_same_tokens_of_a_fixed_step_and_not_of_another():
    fixed, moving = state_space(), state_space(delta=(0.25, 0.5, 1.0))
    for made, same in ((fixed, True), (moving, False)):
        s4 = streams.tokens(RULES["s4"], made)
        mamba = streams.tokens(RULES["mamba"], made, discretisation=RULES["s4"].discretisation)
        assert bool((s4.g == mamba.g).all()) is same


def test_the_solution_of_a_regression_is_kept_by_a_gain():
    rng = np.random.default_rng(6)
    keys, values = rng.normal(size=(9, 4)), rng.normal(size=(9, 3))
    H, P, S = 0.3 * np.eye(4), np.eye(4) / 0.3, np.zeros((3, 4))
    for t, (k, v) in enumerate(zip(keys, values, strict=True)):
        g = P @ k / (1 + k @ P @ k)
        x = Token(q=k, k=g, v=v, g=np.zeros((1, 1)), b=k / g, w=np.ones(1))
        S, _ = reference.step(S, x)
        P = P - np.outer(g, k @ P)
        H = H + np.outer(k, k)
        assert pytest.approx(np.linalg.solve(H, keys[: t + 1].T @ values[: t + 1]).T, rel=1e-9) == S


def test_a_memory_with_keys_of_its_own_to_remove_is_run_by_two_tokens():
    rng = np.random.default_rng(7)
    a, r, k, q = rng.normal(size=(4, 5))
    S, v, w = rng.normal(size=(3, 5)), rng.normal(size=3), rng.uniform(0.2, 1, 5)
    want = S * w + np.outer(S @ a, r) + np.outer(v, k)
    none, one = np.zeros(1), np.ones(1)
    first = Token(q=q, k=r, v=np.zeros(3), g=np.log(w)[None], b=-a / w / r, w=one)
    second = Token(q=q, k=k, v=v, g=np.zeros((1, 1)), b=none, w=one)
    made, o = reference.step(reference.step(S, first)[0], second)
    assert made == pytest.approx(want) and o == pytest.approx(want @ q)


def test_hippo_legs_as_s4_makes_it_is_normal_once_its_correction_is_added():
    N = 7  # transition and rank_correction of S4's code
    q = np.arange(N, dtype=float)
    T = np.diag(np.sqrt(2 * q + 1))
    M = -(np.where(q[:, None] >= q[None], 2 * q[None] + 1, 0) - np.diag(q))
    A = T @ M @ np.linalg.inv(T)
    p = np.sqrt(0.5 + q)
    normal = A + np.outer(p, p)
    assert normal @ normal.T == pytest.approx(normal.T @ normal)
    assert normal + normal.T == pytest.approx(-np.eye(N), abs=1e-12)
    R = np.linalg.inv(0.7 * np.eye(N) - normal)
    inverse = R - np.outer(R @ p, p @ R) / (1 + p @ R @ p)
    assert inverse @ (0.7 * np.eye(N) - A) == pytest.approx(np.eye(N), abs=1e-9)


def test_blocks_below_the_diagonal_have_the_rank_of_the_keys():
    rng = np.random.default_rng(8)
    T, K = 11, 3
    x = stream(rng, T, T, K)
    x = Token(q=x.q, k=x.k, v=np.eye(T), g=x.g, b=x.b, w=x.w)
    _, o = reference.recurrent(np.zeros((T, K)), x)
    ranks = [np.linalg.matrix_rank(o[s:, : s + 1], tol=1e-9) for s in range(T)]
    assert max(ranks) == K and np.linalg.matrix_rank(o[3:, :9], tol=1e-9) > K


def test_the_error_of_random_keys_is_that_of_the_others_over_dk():
    n, d = 3, 4
    signs = np.array(np.meshgrid(*[(1.0, -1.0)] * (n * d))).reshape(n * d, -1).T.reshape(-1, n, d) / np.sqrt(d)
    values = np.random.default_rng(9).normal(size=(n, 2))
    answers = np.einsum("pjd,pid,iv->pjv", signs, signs, values)
    errors = ((answers - values) ** 2).sum(-1).mean(0)
    squares = (values**2).sum(-1)
    assert errors == pytest.approx((squares.sum() - squares) / d)


def test_two_reflections_turn_three_axes_in_a_circle():
    def swap(i, j):
        k = np.eye(4)[i] - np.eye(4)[j]
        x = Token(q=k, k=k, v=np.zeros(4), g=np.zeros((1, 1)), b=np.ones(1), w=np.ones(1))
        return reference.step(np.eye(4), x)[0]

    assert (swap(0, 1) @ swap(0, 1) == np.eye(4)).all()
    assert (swap(0, 1) @ swap(1, 2) == np.eye(4)[[2, 0, 1, 3]]).all()
