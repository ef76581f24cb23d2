"""The reference on fractions, compared exactly."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdn_core.reference import Token, chunk, chunkwise, moments, recurrent, step
from gdn_core.rules import RULES, Gate, WriteRule

pytestmark = pytest.mark.filterwarnings("error")

KEYED = {Gate.NONE: 1, Gate.SCALAR: 1}  # the width of a vector gate, where it is not that of the vector


@np.vectorize
def power_of_two(g: int) -> Fraction:
    """The exponential of these tests: log decays are whole numbers, so decays are exact."""
    assert g <= 0, "the exponential of a positive difference of log decays"
    return Fraction(1, 2**-g)


def exact(draw: st.DrawFn, *shape: int, low: int = -6, high: int = 6, over: int = 4) -> np.ndarray:
    entries = st.integers(low, high)
    size = int(np.prod(shape))
    values = [Fraction(n, over) for n in draw(st.lists(entries, min_size=size, max_size=size))]
    return np.array(values, dtype=object).reshape(shape)


@st.composite
def cases(draw: st.DrawFn, rule: WriteRule, max_T: int = 6) -> tuple[np.ndarray, Token]:
    """A nonzero memory and a stream for a rule, as fractions: any sizes, beta to 2, decays down to 1/16."""
    T, V, K = draw(st.integers(1, max_T)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows, columns = rule.decay.shape(V, K)
    g = exact(draw, T, rows, columns, low=-4, high=0, over=1) * (rule.decay is not Gate.NONE)
    b = exact(draw, T, KEYED.get(rule.erase, K), low=0, high=8) * (rule.erase is not Gate.NONE)
    w = b if rule.tied else exact(draw, T, KEYED.get(rule.write, V), low=0, high=8)
    k = exact(draw, T, V, K) if rule.write is Gate.MATRIX else exact(draw, T, K)
    if rule.write in (Gate.NONE, Gate.MATRIX):
        w = 0 * w[:, :1] + 1
    return exact(draw, V, K), Token(q=exact(draw, T, K), k=k, v=exact(draw, T, V), g=g, b=b, w=w)


def by_hand(S: np.ndarray, x: Token) -> tuple[list[list[Fraction]], list[list[Fraction]]]:
    """The oracle: the same recurrence entry by entry in Python numbers, sharing no array code with the reference."""
    V, K = S.shape
    memory = [[S[d, n] for n in range(K)] for d in range(V)]
    outputs = []
    for t in range(len(x)):
        for d in range(V):
            key = [x.k[t, d, n] if x.k.ndim == 3 else x.k[t, n] for n in range(K)]
            g = [x.g[t, d % x.g.shape[1], n % x.g.shape[2]] for n in range(K)]
            decayed = [memory[d][n] / 2 ** int(-g[n]) for n in range(K)]
            stored = sum((decayed[n] * x.b[t, n % x.b.shape[1]] * key[n] for n in range(K)), Fraction(0))
            error = x.w[t, d % x.w.shape[1]] * x.v[t, d] - stored
            memory[d] = [decayed[n] + error * key[n] for n in range(K)]
        outputs.append([sum((memory[d][n] * x.q[t, n] for n in range(K)), Fraction(0)) for d in range(V)])
    return memory, outputs


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=40)
@given(data=st.data())
def test_the_recurrence_is_the_one_written_out_entry_by_entry(rule: WriteRule, data: st.DataObject) -> None:
    S, x = data.draw(cases(rule))
    got_S, got_o = recurrent(S, x, exp=power_of_two)
    want_S, want_o = by_hand(S, x)
    assert got_S.tolist() == want_S
    assert got_o.tolist() == want_o


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=40)
@given(data=st.data(), chunk_size=st.integers(1, 7))
def test_chunks_of_any_length_give_the_recurrence(rule: WriteRule, data: st.DataObject, chunk_size: int) -> None:
    S, x = data.draw(cases(rule))
    want_S, want_o = recurrent(S, x, exp=power_of_two)
    got_S, got_o = chunkwise(S, x, chunk_size=chunk_size, exp=power_of_two)
    assert (got_S == want_S).all()
    assert (got_o == want_o).all()


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@settings(max_examples=40)
@given(data=st.data())
def test_the_moments_of_a_token_are_the_step_taken_apart(rule: WriteRule, data: st.DataObject) -> None:
    S, x = data.draw(cases(rule))
    for t in range(len(x)):
        m = moments(S, x[t], exp=power_of_two)
        k = x.k[t] if x.k.ndim == 3 else x.k[t][None, :]
        wv = x.w[t] * x.v[t]
        assert (m.before == S).all()
        assert (m.erased == m.decayed - m.read[:, None] * k).all()
        assert (m.written == m.erased + wv[:, None] * k).all()
        assert (m.u == wv - m.read).all()
        want_S, want_o = recurrent(S, x[t : t + 1], exp=power_of_two)
        assert (m.written == want_S).all()
        assert (m.o == want_o[0]).all()
        S = m.written


@settings(max_examples=40)
@given(data=st.data())
def test_the_future_does_not_reach_back(data: st.DataObject) -> None:
    S, x = data.draw(cases(RULES["gated-deltanet-2"]))
    t = data.draw(st.integers(0, len(x) - 1))
    later = np.arange(len(x)) > t
    changed = Token(
        *(np.where(later.reshape(-1, *[1] * (f.ndim - 1)), f * 3, f) for f in (getattr(x, n.name) for n in fields(x)))
    )
    for run in (recurrent, chunk):
        assert (run(S, x, exp=power_of_two)[1][: t + 1] == run(S, changed, exp=power_of_two)[1][: t + 1]).all()


def test_the_error_is_read_after_the_decay() -> None:
    one = np.array([Fraction(1)])
    x = Token(q=one, k=one, v=one * 5, g=np.array([[-1]], dtype=object), b=one, w=one)
    S, o = step(np.array([[Fraction(8)]]), x, exp=power_of_two)
    assert S == 5 and o == 5  # before the decay the error would be 5 - 8, and the memory 4 - 3 = 1


def test_an_underflowing_decay_leaves_no_infinity_and_no_nan() -> None:
    rng = np.random.default_rng(0)
    T, V, K = 70, 3, 5
    x = Token(
        q=rng.normal(size=(T, K)),
        k=rng.normal(size=(T, K)) / K,
        v=rng.normal(size=(T, V)),
        g=np.where(rng.random((T, 1, K)) < 0.2, -800.0, -0.1),  # exp(-800) is 0 in float64
        b=2 * rng.random((T, 1)),
        w=rng.random((T, V)),
    )
    S = rng.normal(size=(V, K))
    want_S, want_o = recurrent(S, x)
    for chunk_size in (16, 64, 128):
        got_S, got_o = chunkwise(S, x, chunk_size=chunk_size)
        rounding = 8 * np.finfo(float).eps * -x.g[:chunk_size].sum(0).min()  # of a cumulated log decay: relative error
        np.testing.assert_allclose(got_S, want_S, rtol=0, atol=rounding * abs(want_S).max())
        np.testing.assert_allclose(got_o, want_o, rtol=0, atol=rounding * abs(want_o).max())


def test_a_token_of_zeros_leaves_the_memory_as_it_was() -> None:
    S, zero = np.array([[Fraction(1, 3), Fraction(7)]]), np.array([Fraction(0)] * 2)
    x = Token(q=zero, k=zero, v=zero[:1], g=zero[:1, None], b=zero[:1], w=zero[:1])
    after, _ = step(S, x, exp=power_of_two)
    assert (after == S).all()


def test_a_slice_of_a_stream_is_a_stream() -> None:
    x = Token(*(np.arange(6).reshape(6, *[1] * n) for n in (1, 1, 1, 2, 1, 1)))
    assert len(x[2:5]) == 3
    assert (x[2:5].v == replace(x).v[2:5]).all()
