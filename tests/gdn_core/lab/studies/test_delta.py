"""The delta rule: what moves along a key, in the plane and in space, is what its equation says."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core.lab.studies import delta


def test_delta_multiplies_what_lies_along_the_key_by_one_less_beta() -> None:
    for value in (-1.0, 0.0, 0.7):
        numbers = delta.in_the_plane(value)
        along, across = numbers["before"] @ numbers["key"], [-numbers["key"][1], numbers["key"][0]]
        moved = (1 - numbers["beta"]) * along + numbers["beta"] * value
        np.testing.assert_allclose(numbers["answer"], moved, atol=1e-12)
        np.testing.assert_allclose(numbers["written"] @ across, numbers["before"] @ across)
        np.testing.assert_allclose(numbers["norm"], np.maximum(1, np.abs(1 - numbers["beta"])), atol=1e-12)
        slope = (along - value) ** 2 / 2 * (1 - numbers["beta"]) ** 2
        np.testing.assert_allclose(numbers["loss"], slope, atol=1e-12)
        np.testing.assert_allclose(numbers["valley"] @ numbers["key"], value, atol=1e-12)
        for (x, y), at in {(-1.8, -1.8): (0, 0), (1.8, -1.8): (0, 18), (0.4, 1.0): (14, 11)}.items():
            height = (np.sqrt(0.75) * x + 0.5 * y - value) ** 2 / 2
            assert numbers["surface"][at] == pytest.approx(height)
        way = numbers["way"]
        np.testing.assert_allclose(way[:, 0, :2], np.tile(numbers["before"], (len(way), 1)))
        np.testing.assert_allclose(way[:, -1, :2], numbers["written"])
        np.testing.assert_allclose(way[:, -1, 2], numbers["loss"], atol=1e-12)
        np.testing.assert_allclose(way[10, 6, 2], (0.75 * (along - value)) ** 2 / 2)  # half of the way at beta = 1/2
    for beta in (0.0, 1.0, 1.5, 2.0, 2.4):
        numbers = delta.again_and_again(beta)
        assert numbers["eigenvalue"] == pytest.approx(1 - beta)
        np.testing.assert_allclose(numbers["along"], numbers["along"][0] * (1 - beta) ** np.arange(21), atol=1e-12)
        np.testing.assert_allclose(numbers["across"], numbers["across"][0])


def test_delta_in_space_moves_along_the_keys_and_is_seen_as_a_projection() -> None:
    for beta, turn in ((1.0, 60), (0.3, 0), (1.9, 170)):
        numbers, stream = delta.in_space(beta, turn), delta.three_keys(beta).window(1, 13)
        S = numbers["memory"][0]
        for t, (k, v) in enumerate(zip(stream.k, stream.v[:, 0], strict=True)):
            np.testing.assert_allclose(numbers["memory"][2 * t + 1], S - beta * (S @ k) * k, atol=1e-12)
            S = S - beta * (S @ k - v) * k
            np.testing.assert_allclose(numbers["memory"][2 * t + 2], S, atol=1e-12)
            before, after = numbers["off"][[2 * t, 2 * t + 2], t % 3]
            assert after == pytest.approx(abs(1 - beta) * before, abs=1e-12)
        eye = numbers["axes"]
        np.testing.assert_allclose(eye.T @ eye, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(numbers["seen"], numbers["memory"] @ eye, atol=1e-12)
        np.testing.assert_array_equal(numbers["path"][7, 7:], np.tile(numbers["seen"][7], (18, 1)))
        for n, t in enumerate(numbers["token"]):  # a square is seen smaller by the cosine of its angle to the view
            x, y = numbers["plane"][n].T
            area = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
            assert area == pytest.approx(abs(stream.k[max(t, 0)] @ np.cross(eye[:, 0], eye[:, 1])))
        np.testing.assert_allclose(stream.k @ numbers["goal"], stream.v[:, 0])
    assert delta.in_space(1.0, 0)["off"][-1].max() < 0.01
