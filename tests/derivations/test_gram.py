"""The code on vectors of any width, against float64 vectors."""

import inspect

import numpy as np
import pytest

from derivations.engines import gram
from derivations.engines.cases import scalar_gates, vectors
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import GATED_DELTANET, GLA
from tests.derivations.polynomials import evaluated

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(("V", "K"), [(1, 1), (3, 2), (2, 5)])
def test_gram_letters_stand_for_vectors_of_any_width(V, K):
    C = 3
    case = vectors(GATED_DELTANET, C)
    S, o = case.run(reference.chunk)
    q, k, v, g = (RNG.normal(size=size) for size in ((C, K), (C, K), (C, V), C))
    b, S0 = RNG.normal(size=C), RNG.normal(size=(V, K))
    x = Token(q=q, k=k, v=v, g=g[:, None, None], b=b[:, None], w=b[:, None])
    want_S, want_o = reference.recurrent(S0, x)
    for d in range(V):  # a value letter stands for one channel as well as for all
        names = {f"b{i + 1}": b[i] for i in range(C)} | {f"a{i + 1}": np.exp(g[i]) for i in range(C)}
        names |= {f"v{i + 1}": v[i, d] for i in range(C)}
        names |= {f"Sk{i + 1}": S0[d] @ k[i] for i in range(C)} | {f"Sq{i + 1}": S0[d] @ q[i] for i in range(C)}
        names |= {f"kk{i + 1}{j + 1}": k[i] @ k[j] for i in range(C) for j in range(C)}
        names |= {f"kq{i + 1}{j + 1}": k[i] @ q[j] for i in range(C) for j in range(C)}
        for i in range(C):
            assert evaluated(o.entries[i, 0], names) == pytest.approx(want_o[i, d])
        coefficients = [evaluated(entry, names) for entry in S.entries[0]]
        got = coefficients[0] * S0[d] + sum(c * vector for c, vector in zip(coefficients[1:], (*k, *q), strict=True))
        assert got == pytest.approx(want_S[d])


@pytest.mark.parametrize(
    "look",
    [
        lambda x, S: x.k * x.k,  # channel by channel
        lambda x, S: x.k[0][0],  # one channel
        lambda x, S: len(x.k[0]),  # how many channels
        lambda x, S: len(S),
        lambda x, S: S if S.shape[0] == S.shape[1] else S.T,
        lambda x, S: S.shape == (1, 5),
        lambda x, S: x.k * (1 / x.k.shape[1]),
        lambda x, S: range(x.v.shape[1]),
        lambda x, S: x.k.shape[1] > 1,
        lambda x, S: [0] * S.shape[0],
        lambda x, S: x.k + 1,
        lambda x, S: 1 - x.k,
        lambda x, S: 1 - S,
        lambda x, S: x.k * np.ones(7),
        lambda x, S: np.ones(7) * x.k,
        lambda x, S: np.ones((3, 1)) * x.v,
        lambda x, S: x.k + x.b,  # a number added to a vector
        lambda x, S: x.v @ x.v.T,  # values contracted
        lambda x, S: x.k @ x.k,  # tokens taken for channels
        lambda x, S: x.v * x.k,  # channels of two kinds
    ],
)
def test_code_that_looks_at_channels_is_refused(look):
    case = vectors(GATED_DELTANET, 3)
    with pytest.raises(ArithmeticError, match="the code"):
        look(case.x, case.S)


def test_tokens_may_be_counted_and_gates_shifted():
    case = vectors(GATED_DELTANET, 3)
    assert case.x.k.shape[0] == case.x.g.shape[0] == len(case.x.v) == 3
    assert case.x.b.shape == (3, 1)
    assert not case.residual((1 - case.x.b) * case.x.k * 2, 2 * case.x.k - 2 * (case.x.b * case.x.k)).any()


def test_a_chunk_form_that_is_right_for_some_widths_only_does_not_hold(monkeypatch):
    """Right wherever V and K differ, as the first and the second size of the letters do, and wrong at V = K."""
    made = load()["gated_chunk_equals_recurrence"]
    wrong = "(S if S.shape[0] == S.shape[1] else S.T)"
    source = inspect.getsource(reference.chunk).replace("erase) @ S.T", f"erase) @ {wrong}")
    assert wrong in source
    scope = dict(vars(reference))
    exec(source, scope)  # noqa: S102 - the code above, with one change
    monkeypatch.setattr(reference, "chunk", scope["chunk"])
    (step,) = (step for step in made.steps if step.engine == "gram")
    assert made.check_step(step).verdict is Verdict.ERROR


def test_a_product_of_keys_and_queries_is_the_same_from_either_side():
    case = vectors(GATED_DELTANET, 3)
    assert not case.residual(case.x.q @ case.x.k.T, (case.x.k @ case.x.q.T).T).any()
    assert case.residual(case.x.q @ case.x.k.T, case.x.k @ case.x.q.T).any()
    assert not case.residual(case.x.k @ case.x.k.T, (case.x.k @ case.x.k.T).T).any()


def test_a_rule_with_gates_by_channel_has_no_gram_letters():
    assert not scalar_gates(GLA)
    with pytest.raises(ValueError, match="gate for each channel"):
        vectors(GLA, 3)


def test_different_axes_are_not_compared():
    case = vectors(GATED_DELTANET, 2)
    assert "one has the axes" in case.residual(case.x.k, case.x.q.T)
    with pytest.raises(ValueError, match="same axes"):
        gram.stack([case.x.k, case.x.v])
