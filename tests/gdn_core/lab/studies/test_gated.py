"""Gated DeltaNet: its errors are those of the recurrence, and its limit is Mamba-2."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core import streams
from gdn_core.lab.studies import gated
from tests.gdn_core.lab.studies.written_out import memory


def test_gated_measures_the_errors_of_the_recurrence_and_what_the_square_is_for() -> None:
    error, mine = gated.recall(0.1, "grid")["error"], []
    for draw in range(gated.DRAWS):
        stream = gated.facts(0.1, draw)
        scalar = streams.Stream(**vars(stream) | {"g": stream.g.mean(axis=1)})
        off = memory("gated-deltanet", scalar, gated.T) @ stream.k[gated.CHANGED] - stream.v[gated.AGAIN]
        mine.append(np.linalg.norm(off))
    assert error[-1, 1, 3] == pytest.approx(np.mean(mine))
    assert np.isnan(error[gated.RECENT - 1, 2]).all()
    for fact in (1, 2):
        assert error[-1, fact].argmin() == 3  # Gated DeltaNet answers what changed, and what is recent, best
    assert error[-1, 0].argmin() == 2  # and DeltaNet, which clears nothing, what is old


def test_gated_deltanet_comes_to_mamba_2_with_the_square_of_eps() -> None:
    numbers = gated.limit(0.1)
    slope = np.diff(np.log(numbers["difference"][4:])) / np.diff(np.log(numbers["eps"][4:]))
    np.testing.assert_allclose(slope, 2, atol=0.02)
    assert (numbers["difference"] > 0).all()
