"""Linear attention: its forms agree, and its weights and lengths are the products written out."""

from __future__ import annotations

import numpy as np

from gdn_core.lab.studies import linear


def test_linear_attention_is_one_model_in_three_forms() -> None:
    stream = linear.six_tokens()
    expected = [sum(int(stream.q[t] @ stream.k[i]) * stream.v[i].astype(int) for i in range(t + 1)) for t in range(6)]
    for size in range(1, 7):
        numbers = linear.three_forms(size)
        for form in ("at_once", "token_by_token", "in_chunks"):
            np.testing.assert_array_equal(numbers[form], expected)
    np.testing.assert_array_equal(numbers["memory"][-1], stream.v.T @ stream.k)


def test_linear_attention_weighs_by_products_and_by_positive_features() -> None:
    numbers, stream = linear.weights(2.0), linear.eight_tokens(2.0)
    for t in range(8):
        products = [float(stream.q[t] @ k) for k in stream.k[: t + 1]]
        np.testing.assert_allclose(numbers["products"][t, : t + 1], products)
        softmax = np.exp(products) / sum(np.exp(products))
        np.testing.assert_allclose(numbers["softmax"][t, : t + 1], softmax)
        phi = [np.where(x > 0, x + 1, np.exp(x)) for x in (stream.q[t], stream.k[: t + 1])]
        features = phi[1] @ phi[0]
        np.testing.assert_allclose(numbers["features"][t, : t + 1], features / features.sum(), atol=1e-5)
    assert np.triu(numbers["softmax"], 1).max() == 0


def test_linear_attention_without_a_normaliser_grows_with_the_tokens() -> None:
    same = linear.growth("same")
    np.testing.assert_allclose(same["without"], np.arange(1, 49), rtol=1e-5)
    np.testing.assert_allclose(same["with_normaliser"], 1, rtol=1e-5)
