"""The memory before a window against the recurrence, token by token, in float64."""

from dataclasses import replace

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab.before import memory_after
from gdn_core.lab.trajectory import trajectory
from gdn_core.reference import moments
from gdn_core.rules import RULES, Discretisation

EPS = np.finfo(np.float32).eps


def stream(T: int, V: int = 3, K: int = 5, *, seed: int = 0, wide: bool = True) -> streams.Stream:
    """Keys that overlap and are not quite of length 1, gates over their whole range, some decays of nearly nothing."""
    rng = np.random.default_rng(seed)
    k = rng.normal(size=(T, K)) + rng.normal(size=K)
    g = -0.2 * rng.random((T, K) if wide else T) ** 4
    g[rng.random(T) < 0.002] = -900.0
    return streams.Stream(
        q=rng.normal(size=(T, K)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True) * rng.uniform(0.9, 1.0, (T, 1)),
        v=rng.normal(size=(T, V)),
        g=g,
        beta=rng.uniform(0, 2, (T, K) if wide else T),
        w=rng.uniform(0, 2, (T, V) if wide else T),
        delta=rng.uniform(0, 0.1, (T, V) if wide else T),
        A=-rng.uniform(0.1, 4, (V, K) if wide else K),
    )


def recurrence(slug: str, given: streams.Stream, T: int, method: Discretisation | None, dtype: type) -> np.ndarray:
    """The memory after T tokens, one at a time; constants are those of the whole stream."""
    x = streams.tokens(RULES[slug], given, discretisation=method)
    S = np.zeros((x.v.shape[1], given.k.shape[1]), dtype)
    x = replace(x, **{name: getattr(x, name).astype(dtype) for name in ("q", "k", "v", "g", "b", "w")})
    for t in range(T):
        S = moments(S, x[t]).written
    return S


CASES = [
    (slug, method)
    for slug, rule in RULES.items()
    for method in (tuple(Discretisation) if rule.discretisation else (None,))
]


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize(("slug", "method"), CASES)
def test_the_memory_is_that_of_the_recurrence_at_every_length(slug, method, wide):
    """Lengths around a chunk and a block, and one of several blocks."""
    given = streams.held(RULES[slug], stream(2100, wide=wide))
    for T in (0, 1, 15, 16, 17, 33, 65, 2100):
        want = recurrence(slug, given, T, method, float)
        got = memory_after(RULES[slug], given.window(0, T), discretisation=method)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11 * max(abs(want).max(), 1))


@pytest.mark.parametrize(("slug", "method"), CASES)
def test_a_memory_that_the_stream_begins_with_is_carried_along(slug, method):
    given = streams.held(RULES[slug], stream(40, seed=1))
    half = memory_after(RULES[slug], given.window(0, 23), discretisation=method)
    got = memory_after(RULES[slug], given.window(23, 40), initial=half, discretisation=method)
    np.testing.assert_allclose(got, recurrence(slug, given, 40, method, float), atol=1e-12)


@pytest.mark.parametrize("start", [1, 1000])
def test_a_window_begins_with_the_memory_of_all_that_came_before_it(start):
    given = stream(1010, seed=2)
    for first in (0, 6):
        slugs = list(RULES)[first : first + 6]
        run = trajectory(slugs, given, window=(start, start + 5))
        for r, (slug, rule) in enumerate(zip(slugs, run.rules, strict=True)):
            for t in (0, 5):
                want = recurrence(slug, given, start + t, None, float)
                scan = recurrence(slug, given, start + t, None, np.float32)
                got = run.states[r, t]
                if rule.normalised:
                    got = np.concatenate([got, run.normaliser[r, t][None]])
                assert abs(got - want).max() <= 2 * abs(scan - want).max() + EPS * abs(want).max(), slug


def test_a_window_can_begin_empty():
    given = stream(60, seed=3)
    run = trajectory("gated-deltanet", given, window=(50, 60), from_empty=True)
    np.testing.assert_array_equal(run.states, trajectory("gated-deltanet", given.window(50, 60)).states)
    assert not run.states[0, 0].any()


def test_a_memory_that_no_float32_holds_leaves_the_others_as_they_are():
    given = replace(stream(3000, seed=4), k=3 * stream(3000, seed=4).k)
    run = trajectory(["deltanet", "mamba-2"], given, window=(2990, 3000))
    assert not np.isfinite(run.states[0, 0]).all()
    np.testing.assert_array_equal(run.states[1], trajectory("mamba-2", given, window=(2990, 3000)).states[0])
    assert np.isfinite(run.states[1]).all()


@pytest.mark.parametrize("window", [(-1, 3), (4, 4), (2, 11), (10, 11)])
def test_a_window_outside_the_stream_is_refused(window):
    with pytest.raises(ValueError, match=r"^window: expected an integer from"):
        trajectory("deltanet", stream(10), window=window)
