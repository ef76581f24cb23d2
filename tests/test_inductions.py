"""The induction steps against chunks of numbers: their letters are given the values that a real chunk has."""

import random
from fractions import Fraction

import numpy as np
import pytest

from derivations import inductions
from derivations.engines.words import Block, evaluate
from gdn_core import reference

SIZES = {"V": 2, "K": 3, "n": 4}


def fractions(rng: random.Random, *shape: int) -> np.ndarray:
    entries = [Fraction(rng.randint(-8, 8), rng.randint(1, 4)) for _ in range(int(np.prod(shape)))]
    return np.array(entries, dtype=object).reshape(shape)


def stream(rng: random.Random, T: int, V: int, K: int) -> reference.Token:
    return reference.Token(
        q=fractions(rng, T, K),
        k=fractions(rng, T, K),
        v=fractions(rng, T, V),
        g=fractions(rng, T, 1, K),
        b=fractions(rng, T, K),
        w=fractions(rng, T, V),
    )


def decays(g: np.ndarray) -> np.ndarray:
    """Stand for the exponential: what a token carries is its decay here, and products are taken by hand."""
    return g


def test_the_hypothesis_is_the_memory_of_a_chunk_and_the_next_step_extends_it():
    rng = random.Random(5)
    V, K, n = (SIZES[name] for name in "VKn")
    x, S0 = stream(rng, n + 1, V, K), fractions(rng, V, K)
    before, _ = reference.recurrent(S0, x[:n], exp=decays)
    after, outputs = reference.recurrent(S0, x, exp=decays)

    S, errors = S0, []
    for t in range(n):
        errors.append(x.w[t] * x.v[t] - (x.g[t] * S) @ (x.b[t] * x.k[t]))
        S, _ = reference.step(S, x[t], exp=decays)
    c = inductions.chunk()
    since = [np.prod(x.g[t + 1 : n, 0], axis=0) if t + 1 < n else np.ones(K, dtype=object) for t in range(n)]
    at = {
        "S_0": S0,
        "C": np.diag(np.prod(x.g[:n, 0], axis=0)),
        "U": np.array(errors),
        "F": np.array([x.k[t] * since[t] for t in range(n)]),
        "D": np.diag(x.g[n, 0]),
        "b": np.diag(x.b[n]),
        "w": np.diag(x.w[n]),
        "q": x.q[n][:, None],
        "k": x.k[n][:, None],
        "v": x.v[n][:, None],
    }
    assert (evaluate(c.memory, SIZES, at) == before).all()
    memory, output = c.step()
    assert (evaluate(memory, SIZES, at) == after).all()
    assert (evaluate(output, SIZES, at)[:, 0] == outputs[n]).all()
    assert (evaluate(c.S0 @ c.C @ c.D + c.errors.T @ c.keys, SIZES, at) == after).all()


def test_a_chunk_and_one_more_token_are_a_chunk():
    assert not any(inductions.chunk_form().values())


@pytest.mark.parametrize(
    ("fault", "touched"),
    [
        ({"keys": lambda c: Block([[c.F], [c.k.T]])}, "memory"),
        ({"read": lambda c: Block([[c.F], [c.k.T]])}, "output"),
        ({"errors": lambda c: Block([[c.U], [(c.w @ c.v).T]])}, "memory"),
    ],
)
def test_a_fault_in_the_chunk_leaves_a_residual_where_it_acts(fault, touched):
    assert inductions.chunk_form(**fault)[touched]


def test_the_ut_transform_extends_and_a_wrong_row_does_not():
    assert not any(inductions.ut_transform().values())
    assert all(inductions.ut_transform(sign=-1).values())
    assert all(inductions.ut_transform(gate=False).values())


def test_the_triangle_of_words_is_that_of_numbers():
    rng = random.Random(6)
    V, K, n = (SIZES[name] for name in "VKn")
    keys, betas, values = fractions(rng, n + 1, K), fractions(rng, n + 1), fractions(rng, n + 1, V)
    gram = np.tril(betas[:, None] * (keys @ keys.T), -1)
    t = inductions.triangle()
    at = {"K": keys[:n], "N": values[:n], "A": gram[:n, :n], "B": np.diag(betas[:n])}
    at |= {"k": keys[n:].T, "v": values[n:].T, "beta": betas[n]}
    assert (evaluate(t.longer, SIZES, at) == gram).all()
    assert (evaluate(t.betas @ t.keys, SIZES, at) == betas[:, None] * keys).all()


def test_the_decayed_system_has_the_scaled_solution_and_not_the_plain_one():
    assert not any(inductions.gated_ut_transform().values())
    assert all(inductions.gated_ut_transform(w=lambda t: t.W).values())
