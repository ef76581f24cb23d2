"""Gating: what decays leave, and the errors, are those of the recurrence."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core.lab.studies import gating
from tests.gdn_core.lab.studies.written_out import memory


def test_gating_leaves_the_products_of_the_decays() -> None:
    alpha, spread = 0.9, 0.6
    numbers, stream = gating.what_is_left(alpha, spread), gating.one_write(alpha, spread)
    summed = np.cumsum(stream.g, axis=0)  # the first token, which writes, does not decay
    for name, expected in (
        ("constant", np.exp(np.median(stream.g, axis=0).mean() * np.arange(gating.T))),
        ("by_token", np.exp(summed.mean(axis=1))),
        ("slowest", np.exp(summed).max(axis=1)),
        ("fastest", np.exp(summed).min(axis=1)),
    ):
        np.testing.assert_allclose(numbers[name], expected, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(np.exp(stream.g[1:].mean()), alpha, rtol=0.02)


def test_gating_measures_the_errors_of_the_recurrence() -> None:
    numbers, stream = gating.old_and_new(0.9), gating.pairs(0.9)
    for n in (1, 5, 48):
        for r, rule in enumerate(("linear-attention", "mamba-2")):
            off = np.linalg.norm(stream.k[:n] @ memory(rule, stream, n).T - stream.v[:n], axis=1)
            assert numbers["first"][n - 1, r] == pytest.approx(off[0], abs=1e-5)
            assert numbers["left"][n - 1, r] == pytest.approx(0.9 ** (r * (n - 1)), abs=1e-5)
            assert numbers["newest"][n - 1, r] == pytest.approx(off[-4:].mean(), abs=1e-5)
