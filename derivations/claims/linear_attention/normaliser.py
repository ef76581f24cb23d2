"""Without its normaliser attention is another model."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines import written
from derivations.engines.notation import number
from derivations.engines.ring import Ring
from derivations.engines.written import Kind, letters
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Counterexample, Sizes
from gdn_core import reference, streams
from gdn_core.rules import LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED


def answers(keys: tuple[int, ...], values: tuple[int, ...]) -> dict[str, list[Fraction]]:
    """Return the exact outputs of two rules for the query 1 at each token, with one key and one value channel."""
    T = len(keys)
    column = np.array(keys, dtype=float)[:, None]
    none, one = np.zeros(T), np.ones((T, 1))
    stream = streams.Stream(
        q=one, k=column, v=np.array(values, dtype=float)[:, None], g=none, beta=none, w=none, delta=none, A=-one[:1]
    )
    found = {}
    for rule in (LINEAR_ATTENTION, LINEAR_ATTENTION_NORMALISED):
        x = streams.tokens(rule, stream)
        _, reads = reference.recurrent(np.zeros((x.v.shape[1], 1)), x)
        found[rule.slug] = [Fraction(answer) for answer in streams.answer(rule, reads)[:, 0].tolist()]
    return found


def mean(weights: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """Return the sum of weighed values and the sum of the weights that softmax attention divides it by."""
    return sum(w * v for w, v in zip(weights, values, strict=True)), sum(weights)


def _means() -> str:
    found = answers((1, 1, 1, 1), (1, 1, 1, 1))
    scores = [written.exp(x) for x in letters(Kind.SCALAR, r"q \cdot k_1", r"q \cdot k_2")]
    above, below = mean(scores, list(letters(Kind.SCALAR, "v_1", "v_2")))
    return (
        rf"\text{{attention: }} o_2 = {above / below}; \quad k_i = q = v_i = 1 \;\Rightarrow\; "
        rf"o_1, \ldots, o_4 = {', '.join(map(number, found[LINEAR_ATTENTION_NORMALISED.slug]))} \quad\text{{but}}\quad "
        rf"{', '.join(map(number, found[LINEAR_ATTENTION.slug]))} \text{{ without the normaliser}}"
    )


@claim(
    statement=_means,
    scope=Counterexample("four tokens of one key and one value"),
    engine="exact",
    source=cite("2006.16236", "eqs. 2 to 5"),
    code=(reference.recurrent, streams.tokens, streams.answer),
)
def dropping_the_normaliser_makes_another_model() -> Any:
    """With its normaliser linear attention answers a mean of values; without it the answer grows with the tokens.

    They differ by another factor at every token, so no scale on queries or values turns one into the other.
    """
    found = answers((1, 1, 1, 1), (1, 1, 1, 1))
    return {
        "normalised": [answer - 1 for answer in found["linear-attention-normalised"]],
        "not normalised": [answer - t for t, answer in enumerate(found["linear-attention"], start=1)],
    }


@dropping_the_normaliser_makes_another_model.step(engine="ring", scope=Sizes(T=4, dv=1))
def softmax_answers_a_mean_of_values() -> Any:
    """Four equal values under any four scores are answered as they are; with one score every value counts alike."""
    return softmax_means()


def softmax_means(*, normalised: bool = True) -> dict[str, Any]:
    """Compare softmax attention's answer, times its divisor, with a mean of the values, times the same."""
    ring = Ring(E=(4,), e=(), v=(), u=(4,))
    above, below = mean(list(ring["E"]), [ring["v"][()]] * 4)
    alike, weight = mean([ring["e"][()]] * 4, list(ring["u"]))
    return {
        "equal values": above - ring["v"][()] * (below if normalised else 4),
        "equal scores": 4 * alike - sum(ring["u"]) * (weight if normalised else 4),
    }


@dropping_the_normaliser_makes_another_model.refute
def weights_that_are_not_summed() -> Any:
    """Softmax attention is said to divide by the number of tokens."""
    return softmax_means(normalised=False)


@dropping_the_normaliser_makes_another_model.refute
def the_same_without_it() -> Any:
    """Linear attention without the normaliser is said to answer the mean."""
    return [answer - 1 for answer in answers((1, 1, 1), (1, 1, 1))["linear-attention"]]


@dropping_the_normaliser_makes_another_model.refute
def repaired_by_the_number_of_tokens() -> Any:
    """Dividing by the number of tokens is said to equal dividing by the weights."""
    found = answers((1, 3), (1, 0))
    pairs = zip(found["linear-attention"], found["linear-attention-normalised"], strict=True)
    return [answer / t - mean for t, (answer, mean) in enumerate(pairs, start=1)]
