"""Which claims hold for a rule that is put together of parts, and the program of a process that checks them.

``python -m derivations.composed`` is :mod:`derivations.serve` with the one task of this module.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from derivations.engines.field import Field, stack
from derivations.mutants.by_hand import planted
from derivations.registry import load
from derivations.residual import is_zero
from derivations.result import Result, Verdict
from derivations.run import check_rule
from derivations.serve import serve
from gdn_core import reference
from gdn_core.lab.studies.compose import DECAYS, ERASES, WRITES, rule_of
from gdn_core.reference import Token

COMMAND = (sys.executable, "-P", "-m", "derivations.composed")
IN_CHUNKS = "edits_in_chunks"  # the name of what is checked here and is no claim of the list
SUBTRACTED = ("gamma[C - 1] * S + u.T", "gamma[C - 1] * S - u.T")
SEEDS = 3


def edits_in_chunks(decay: str, erase: str, write: str, steps: int, rng: random.Random, code: Any) -> Any:
    """Compare the chunk form with the recurrence on the edits of a composition, on random integers mod a prime."""
    numbers, T, V, K = Field(rng), 12, 3, 4
    edits = 2 if erase == "key" else 1  # of the memory, a pair
    shapes = {
        "S": (V, K), "q": (T, K), "k": (T, K), "v": (T, V), "g": (T, *DECAYS[decay].shape(V, K)),
        "b": (T, ERASES[erase].shape(1, K)[1]), "w": (T, WRITES[write].shape(V, 1)[0]),
    }  # fmt: skip
    letters = numbers.letters(shapes)
    S = letters.pop("S")
    number = np.arange(T)
    erases, writes = ((number % edits == 0), (number % edits == edits - 1))
    masks = {
        "g": (number % (edits * steps) == 0) & (decay != "none"),
        "b": erases & (erase != "none"),
        "v": writes,
    }
    for name, mask in masks.items():
        letters[name] = letters[name] * mask.astype(int).reshape(T, *[1] * (letters[name].ndim - 1))
    if write == "none":
        letters["w"] = letters["b"] if erase == "tied" else 0 * letters["w"] + 1
    x = Token(**letters)
    made = code(S, x, exp=numbers.exp, stack=stack)
    right = reference.recurrent(S, x, exp=numbers.exp, stack=stack)
    return [numbers.residual(left, other) for left, other in zip(made, right, strict=True)]


def claims_of(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Check all that is claimed of a composition, and that its edits may be done in chunks.

    Returns:
        claim [N], the names; holds [N]; and steps, mutants and refuted [N], how many were run, and refuted.
    """
    rule, choice = rule_of(decay, erase, write), (decay, erase, write, steps)

    def zeros(code: Any) -> Iterator[bool]:
        return (is_zero(edits_in_chunks(*choice, random.Random(seed), code)) for seed in range(SEEDS))

    rows = [(IN_CHUNKS, all(zeros(reference.chunk)), 1, 1, int(not any(zeros(planted(reference.chunk, *SUBTRACTED)))))]
    results: list[Result] = list(check_rule(rule)) if rule else []
    if steps > 1 and erase == "tied":
        results.append(load()["micro_steps_of_a_token_are_one_product"].check())
    if erase == "key" and decay != "entry":
        results.append(load()["separate_removal_keys_are_two_tokens_of_the_family"].check())
    for result in results:
        refuted = sum(mutant.verdict is Verdict.HOLDS for mutant in result.mutants)
        holds = result.verdict is Verdict.HOLDS
        rows.append((result.claim, holds, len(result.steps), len(result.mutants), refuted))
    names = ("claim", "holds", "steps", "mutants", "refuted")
    return dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))


def as_lists(decay: str, erase: str, write: str, steps: int) -> dict[str, list[Any]]:
    """Return the numbers of :func:`claims_of` as JSON can hold them."""
    return {name: array.tolist() for name, array in claims_of(decay, erase, write, steps).items()}


if __name__ == "__main__":
    load()
    serve({"claims_of": as_lists})
