"""The equation that is printed for a rule, as a sum of words, is what its step computes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines.cases import exactly
from derivations.mutants.by_hand import misprinted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import equation, reference
from gdn_core.reference import Array, Token
from gdn_core.rules import GATED_DELTANET, KIMI_DELTA_ATTENTION, S4, Gate, WriteRule

SIZES = ((2, 2), (3, 4), (4, 3), (1, 1), (12, 10))  # V and K; where they are equal, what is wrong does not raise


def against_the_step(rule: WriteRule, V: int, K: int, rng: random.Random) -> dict[str, Any]:
    """Evaluate the words of a rule on small integers in float64, where they are exact, and compare with the code."""

    def drawn(*shape: int) -> Array:
        numbers = [rng.choice((-1, 1)) * rng.randrange(1, 10) for _ in range(int(np.prod(shape)))]  # 0 hides a factor
        return np.array(numbers, dtype=float).reshape(shape)

    V += rule.normalised
    by_row = rule.write is Gate.MATRIX
    S, q, k, v = drawn(V, K), drawn(K), drawn(K), drawn(V)
    decay = np.ones((1, 1)) if rule.decay is Gate.NONE else drawn(*rule.decay.shape(V, K))
    b = 0 * drawn(1) if rule.erase is Gate.NONE else drawn(rule.erase.shape(V, K)[1])
    w = b if rule.tied else np.ones(1) if rule.write in (Gate.NONE, Gate.MATRIX) else drawn(rule.write.shape(V, K)[0])
    entries = drawn(V, K)
    x = Token(q=q[None], k=(entries * k if by_row else k)[None], v=v[None], g=decay[None], b=b[None], w=w[None])
    wanted, o = reference.recurrent(S, x, exp=lambda gate: gate)
    memory, output = equation.written(rule)
    columns = {"q": q[:, None], "k": k[:, None], "v": v[:, None]}
    values = {"S": S, **columns, "alpha": decay, "b": b[:, None], "w": entries if by_row else w[:, None]}
    return {
        f"V = {V}, K = {K}, S": exactly(memory.value(values), wanted),
        f"V = {V}, K = {K}, o": exactly(output.value(values)[:, 0], o[0]),
    }


@claim(
    statement=lambda: rf"{equation.tex(GATED_DELTANET)}, \quad {equation.tex_output(GATED_DELTANET)}",
    assumptions=(
        r"The statement shows one rule; a decay letter stands for $e^g$. How words are typeset is not in the verdict.",
    ),
    scope=AtPoints(f"{len(SIZES)} combinations of V and K, a token of small integers in float64 each,"),
    engine="exact",
    source=cite("2412.06464", "eq. 10"),
    code=(equation.written,),
    rules=every_rule,
)
def printed_words_are_the_step(rule: WriteRule, rng: random.Random) -> Any:
    """The equation that is printed for each rule, word by word in numbers, is what the code's step computes."""
    return (against_the_step(rule, V, K, rng) for V, K in SIZES)


def _misprinted(method: Any, right: str, wrong: str, rule: WriteRule, rng: random.Random) -> Any:
    with misprinted(method, right, wrong):
        return against_the_step(rule, 3, 4, rng)


@printed_words_are_the_step.refute
def what_is_erased_added(rng: random.Random) -> Any:
    """The sign of what is subtracted is lost."""
    return _misprinted(equation.Words.__sub__, "-sign", "sign", GATED_DELTANET, rng)


@printed_words_are_the_step.refute
def decay_by_channel_left_out(rng: random.Random) -> Any:
    """The decay by key channel is left out of what is kept of the memory."""
    return _misprinted(equation.GateLetter.__mul__, "(*word, diagonal)", "(*word,)", KIMI_DELTA_ATTENTION, rng)


@printed_words_are_the_step.refute
def keys_of_all_rows_alike(rng: random.Random) -> Any:
    """A key of its own for each row is written as one for all."""
    return _misprinted(equation.Words.__mul__, "if other.entrywise", "if not other.entrywise", S4, rng)
