"""The chunk form: its matrices, counts and rounding, against the recurrence, torch and fractions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gdn_core import reference, streams
from gdn_core.lab.studies import chunkwise


def test_chunkwise_solves_the_errors_of_the_recurrence() -> None:
    for alpha in (0.5, 1.0):
        numbers, stream = chunkwise.matrices(16, alpha), chunkwise.stream_of(alpha, chunkwise.BETA)
        errors, _, _ = by_recurrence(np.zeros((chunkwise.V, chunkwise.K)), stream, 16, alpha)
        np.testing.assert_allclose(numbers["errors"], errors, atol=1e-12)
        np.testing.assert_allclose(numbers["U"], errors, atol=1e-12)
        np.testing.assert_allclose(numbers["T"][-1], np.linalg.inv(np.eye(16) + numbers["A"]), atol=1e-12)
        decays = [[alpha ** (i - j) if j <= i else 0 for j in range(16)] for i in range(16)]
        np.testing.assert_allclose(numbers["Gamma"], decays, atol=1e-12)


def by_recurrence(S: np.ndarray, stream: streams.Stream, size: int, alpha: float) -> tuple[np.ndarray, ...]:
    """Write out Gated DeltaNet with the gate 0.8: its errors, outputs and last memory."""
    errors, outputs = [], []
    for q, k, v in zip(stream.q[:size], stream.k[:size], stream.v[:size], strict=True):
        errors.append(0.8 * (v - alpha * S @ k))
        S = alpha * S + np.outer(errors[-1], k)
        outputs.append(S @ q)
    return np.array(errors), np.array(outputs), S


def test_chunkwise_begins_with_a_memory_and_ends_with_that_of_the_recurrence() -> None:
    for size, alpha in ((2, 0.5), (7, 0.9), (16, 1.0)):
        numbers, before = chunkwise.carried(size, alpha), chunkwise.stream_of(alpha, chunkwise.BETA, seed=1)
        S = by_recurrence(np.zeros((chunkwise.V, chunkwise.K)), before, 16, alpha)[2]
        np.testing.assert_allclose(numbers["S"], S, atol=1e-12)
        expected = by_recurrence(S, chunkwise.stream_of(alpha, chunkwise.BETA), size, alpha)
        for name, right in zip(("N", "O", "after"), expected, strict=True):
            np.testing.assert_allclose(numbers[name], right, atol=1e-12, err_msg=name)
        assert np.abs(numbers["WS"]).max() > 0.01
        assert (numbers["apart"] < 1e-13).all()


def test_chunkwise_is_exact_in_fractions_and_at_rounding_level_in_floats() -> None:
    numbers = chunkwise.agreement(0.9)
    assert (numbers["exact"] == 0).all()
    for name in chunkwise.FLOATS:
        unit = torch.finfo(getattr(torch, name)).eps
        assert unit / 50 < numbers[name].max() < 20 * unit, name


def test_bfloat16_rounds_numbers_and_the_results_of_operations_as_torch_does() -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.standard_normal((50, 40)).astype(np.float32) * 10.0 ** rng.integers(-9, 9, (50, 1)) for _ in range(2))
    x[0, :4] = 1 + np.array([1, 3, 0.99, 1.01]) * 2.0**-8  # two ties, and beside one
    a, b = torch.tensor(x).bfloat16(), torch.tensor(y).bfloat16()
    mine, other = chunkwise.in_bfloat16(x), chunkwise.in_bfloat16(y)
    for ours, theirs in (
        (mine, a),
        (mine + other, a + b),
        (mine * other, a * b),
        (np.exp(mine / 1e9), (a / 1e9).exp()),
    ):
        np.testing.assert_array_equal(np.asarray(ours), theirs.float().numpy())
    assert isinstance(mine @ other.T, chunkwise.Bfloat16)
    product = np.asarray(mine).astype(float) @ np.asarray(other).astype(float).T
    near = np.abs(product) > 1e-2 * (np.abs(np.asarray(mine)) @ np.abs(np.asarray(other)).T)
    np.testing.assert_allclose(np.asarray(mine @ other.T)[near], product[near], rtol=2.0**-8)


def test_chunkwise_factors_leave_the_range_of_float32_where_their_difference_does_not() -> None:
    numbers = chunkwise.exponents(0.5)
    fails = ~np.isfinite(numbers["growing"])
    np.testing.assert_array_equal(fails, numbers["size"] >= 128)  # 2^128 is past the largest float32
    assert (numbers["together"] <= 1).all()
    within = numbers["size"] <= 126
    np.testing.assert_allclose(numbers["together"][within], 0.5 ** (numbers["size"][within] - 1.0), rtol=1e-5)


class Counted:
    """A number that counts the multiplications of its kind."""

    times = 0

    def __mul__(self, other: Counted) -> Counted:
        Counted.times += 1
        return self

    def __add__(self, other: object) -> Counted:
        return self

    __sub__ = __radd__ = __add__


def test_chunkwise_counts_the_multiplications_of_the_reference() -> None:
    d, length = 3, 8
    one = Counted()

    def filled(*shape: int) -> np.ndarray:
        return np.full(shape, one, dtype=object)

    x = reference.Token(
        q=filled(length, d), k=filled(length, d), v=filled(length, d), g=filled(length, 1, 1), b=filled(length, 1),
        w=filled(length, 1),
    )  # fmt: skip
    numbers = chunkwise.cost(str(d), 1, clock=iter(range(100)).__next__)
    for n, size in enumerate((1, 2, 4, 8)):
        Counted.times = 0
        reference.chunkwise(filled(d, d), x, chunk_size=size, exp=lambda g: g)
        assert Counted.times == pytest.approx(length * (numbers["inside"][n] + numbers["carried"][n]))
    assert numbers["waits"][6] == chunkwise.LENGTH / 64
    assert (numbers["seconds"] == 1).all()  # from one look at the clock to the next


def test_chunkwise_times_what_has_the_outputs_of_the_recurrence() -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 12, 5)) / 5**0.5
    stream = streams.Stream(
        q=q,
        k=k,
        v=v,
        g=np.full(12, np.log(0.7)),
        beta=np.full(12, 0.8),
        w=np.ones(12),
        delta=np.ones(12),
        A=-np.ones(5),
    )
    _, outputs, S = by_recurrence(np.zeros((5, 5)), stream, 12, 0.7)
    for size in (1, 3, 12):
        after, o = chunkwise.in_chunks(q, k, v, np.cumsum(stream.g), stream.beta, size)
        np.testing.assert_allclose(o, outputs, atol=1e-12)
        np.testing.assert_allclose(after, S, atol=1e-12)
