"""The numbers of a trajectory against loops, decompositions and cases with known answers."""

from dataclasses import replace

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab import metrics, scenarios
from gdn_core.lab.trajectory import MOST_RULES, Trajectory, trajectory
from gdn_core.rules import RULES

T, V, K = 7, 4, 5


def stream(seed: int = 0) -> streams.Stream:
    """Seven tokens; the third key comes again as the sixth, the fifth token writes nothing, the last has no key."""
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(T, K))
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    k[5], k[6] = k[2], 0.0
    v = rng.normal(size=(T, V))
    v[4] = 0.0
    return streams.Stream(
        q=rng.normal(size=(T, K)),
        k=k,
        v=v,
        g=-rng.random((T, K)),
        beta=rng.uniform(0, 2, (T, K)),
        w=rng.uniform(0.1, 2, (T, V)),
        delta=rng.uniform(0.1, 1, (T, V)),
        A=-rng.uniform(0.1, 2, (V, K)),
    )


@pytest.fixture(scope="module")
def runs() -> dict[str, Trajectory]:
    given = stream()
    slugs = list(RULES)
    parts = (trajectory(slugs[i : i + MOST_RULES], given) for i in range(0, len(slugs), MOST_RULES))
    return {rule.slug: replace_rules(part, r) for part in parts for r, rule in enumerate(part.rules)}


def replace_rules(run: Trajectory, r: int) -> Trajectory:
    """Take one rule out of a trajectory."""
    arrays = {name: getattr(run, name)[r : r + 1] for name in ("states", "normaliser", "read", "u", "wv", "o")}
    alone = {name: getattr(run, name)[r : r + 1] for name in ("rules", "tokens", "operands")}
    return replace(run, **arrays, **alone)


@pytest.mark.parametrize("slug", RULES)
def test_recall_is_asked_of_the_memory_and_compared_with_the_value_stored_last(
    slug: str, runs: dict[str, Trajectory]
) -> None:
    run = runs[slug]
    got = metrics.recall_error(run)[0]
    for t in range(T):
        for j in range(T):
            of_key = [i for i in range(t + 1) if (run.stream.k[i] == run.stream.k[j]).all()]
            touches = [i for i in of_key if run.wv[0, i].any() or run.tokens[0].b[i].any()]
            writes = [i for i in touches if run.wv[0, i].any()]
            if j > t or not writes or not run.stream.k[j].any() or touches[-1] > j or writes[-1] != touches[-1]:
                assert np.isnan(got[t, j])
                continue
            ask = streams.featured(RULES[slug], run.stream.k[j])
            said = run.states[0, t + 1].astype(float) @ ask
            if RULES[slug].normalised:
                said = said / (run.normaliser[0, t + 1].astype(float) @ ask)
            stored = run.stream.v[writes[-1]]
            assert got[t, j] == pytest.approx(
                np.linalg.norm(said - stored) / np.linalg.norm(stored), rel=1e-4, abs=1e-5
            )


def test_a_key_written_twice_answers_the_new_value_under_the_delta_rule_only() -> None:
    k = np.eye(4)[[0, 1, 0]]
    v = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]])
    one = np.ones(3)
    given = streams.Stream(k, k, v, 0 * one, one, one, one, -np.ones(4))
    error = metrics.recall_error(trajectory(["deltanet", "linear-attention"], given))
    np.testing.assert_allclose(error[0, 2], [np.nan, 0, 0], atol=1e-6)
    np.testing.assert_allclose(error[1, 2], [np.nan, 0, 0.5], atol=1e-6)


def test_zero_is_the_value_itself_and_one_is_as_far_off_as_an_empty_memory() -> None:
    k, v = np.eye(3)[[0, 1]], np.array([[3.0, 4.0], [0.0, 0.5]])
    one = np.ones(2)
    run = trajectory("linear-attention", streams.Stream(k, k, v, 0 * one, one, one, one, -np.ones(3)))
    np.testing.assert_allclose(metrics.recall_error(run)[0, 1], [0, 0], atol=1e-6)
    empty = replace(run, states=np.zeros_like(run.states))
    np.testing.assert_allclose(metrics.recall_error(empty)[0, 1], [1, 1], rtol=1e-6)


def test_a_key_that_was_written_or_erased_again_is_not_asked_for() -> None:
    """The second token writes the first's key again; the fourth only erases the third's, and nothing is held there."""
    k = np.eye(4)[[0, 0, 1, 1]]
    v = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    one = np.ones(4)
    run = trajectory(["deltanet", "linear-attention"], streams.Stream(k, k, v, 0 * one, one, one, one, -np.ones(4)))
    delta, additive = metrics.recall_error(run)
    np.testing.assert_array_equal(np.isnan(delta[3]), [True, False, True, True])
    np.testing.assert_array_equal(np.isnan(additive[3]), [True, False, False, False])
    np.testing.assert_allclose(additive[3, 1:], [1, 0, 0], atol=1e-6)


def test_what_a_stream_means_a_key_to_answer_counts_where_it_is_given() -> None:
    made = scenarios.from_preset("parity")
    ones = np.cumsum([label == "1" for label in made.labels])
    rules = ["linear-attention", "deltanet", "gated-deltanet"]
    now = np.diagonal(metrics.recall_error(trajectory(rules, made.stream), made.meant), axis1=1, axis2=2)
    np.testing.assert_allclose(now[0], np.where(ones % 2, 2, 0), atol=1e-5)
    np.testing.assert_allclose(now[1:], 0, atol=1e-5)


def test_the_scale_of_a_rule_is_its_own_however_another_overflows() -> None:
    given = stream()
    run = trajectory(["deltanet", "linear-attention"], replace(given, k=1e4 * given.k, beta=np.full(T, 2.0)))
    states = run.states.copy()
    states[0, -1, 0, 0] = np.inf
    states[0, -1, 0, 1] = np.nan
    got = metrics.scales(replace(run, states=states))
    finite = states[0][np.isfinite(states[0])]
    assert got[0] == abs(finite).max()
    assert got[1] == abs(run.states[1]).max()


@pytest.mark.parametrize("slug", RULES)
def test_norm_and_effective_rank_follow_from_the_singular_values(slug: str, runs: dict[str, Trajectory]) -> None:
    run = runs[slug]
    for t in range(T):
        s = np.linalg.svd(run.states[0, t + 1].astype(float), compute_uv=False)
        assert metrics.norm(run)[0, t] == pytest.approx(np.sqrt((s**2).sum()), rel=1e-5)
        assert metrics.effective_rank(run)[0, t] == pytest.approx((s**2).sum() ** 2 / (s**4).sum(), rel=1e-4)


def test_effective_rank_counts_equal_directions_at_any_size() -> None:
    run = trajectory("linear-attention", stream())
    states = np.zeros((1, 4, V, K), np.float32)
    states[0, 2, :2, :2] = np.eye(2) * 1e-12
    states[0, 3, :3, 1:4] = np.eye(3) * 1e12
    np.testing.assert_allclose(metrics.effective_rank(replace(run, states=states)), [[0, 2, 3]], rtol=1e-6)


@pytest.mark.parametrize("slug", RULES)
def test_the_spectrum_is_that_of_what_the_rule_does_to_a_memory(slug: str, runs: dict[str, Trajectory]) -> None:
    """The transition as a matrix, from the reference's own words: decay, then take the answer to the key away."""
    run = runs[slug]
    (values,) = metrics.spectrum(run)
    x = run.tokens[0]
    rows = V if x.g.shape[1] > 1 else 1
    assert values.shape == (T, rows * K)
    for t in range(T):
        found = []
        for d in range(rows):
            decay = np.exp(np.broadcast_to(x.g[t], (x.v.shape[1], K))[d])
            k = x.k[t] if x.k.ndim == 2 else x.k[t, d]
            transition = np.diag(decay) @ (np.eye(K) - np.outer(x.b[t] * k, k))
            eigenvalues = np.linalg.eigvals(transition)
            assert abs(eigenvalues.imag).max() < 1e-6
            found.extend(eigenvalues.real)
        np.testing.assert_allclose(values[t], np.sort(found), atol=1e-5)


def test_a_memory_that_is_not_finite_has_no_rank_and_a_large_one_has_its_norm() -> None:
    run = trajectory("deltanet", stream())
    states = np.zeros_like(run.states)
    states[0, 1:, 0, 0] = 3e30  # its square is no float32
    states[0, 1:, 1, 1] = 4e30
    states[0, 2, 0, 0] = np.nan
    states[0, 3, 0, 0] = np.inf
    run = replace(run, states=states)
    norm, rank = metrics.norm(run)[0], metrics.effective_rank(run)[0]
    assert norm[0] == pytest.approx(5e30, rel=1e-6)
    assert rank[0] == pytest.approx(25**2 / (9**2 + 16**2), rel=1e-5)
    np.testing.assert_array_equal(np.isfinite(norm[:4]), [True, False, False, True])
    np.testing.assert_array_equal(np.isnan(rank[:4]), [False, True, True, False])
