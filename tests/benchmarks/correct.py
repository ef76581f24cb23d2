"""Whether what the app shows is right, by the float64 reference: what is wrong is not measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from app import compute
from app.choice import Choice
from app.player import payload
from gdn_core import reference, streams
from gdn_core.rules import RULES, WriteRule

TOLERANCE = 1e-4  # of the largest output: float32 over 64 tokens stays far below, a wrong rule or seed far above


def outputs(choice: Choice) -> list[np.ndarray]:
    """Compute the outputs of a choice's rules by the float64 reference, [T, V] each."""
    return [streams.answer(rule, o) for rule, (_, o) in _runs(choice)]


def memories(choice: Choice) -> list[np.ndarray]:
    """Compute the memories of a choice's rules after the last token by the float64 reference, [V, K] each."""
    return [S for _, (S, _) in _runs(choice)]


def _runs(choice: Choice) -> Iterator[tuple[WriteRule, tuple[np.ndarray, np.ndarray]]]:
    stream = compute.scenario(choice).stream
    for rule in (RULES[slug] for slug in choice.rules):
        tokens = streams.tokens(rule, stream)
        yield rule, reference.recurrent(np.zeros((tokens.v.shape[1], tokens.q.shape[1])), tokens)


def error(data: bytes, choice: Choice) -> float:
    """Return the largest error of the outputs in a player's buffer, relative to the largest output."""
    header, body = payload.header(data), 4 + int.from_bytes(data[:4], "little")
    floats = np.frombuffer(data, "<f4", offset=body, count=(len(data) - body) // 4)
    worst = 0.0
    for rule, want in zip(header["rules"], outputs(choice), strict=True):
        place = rule["arrays"]["o"]
        got = floats[place["offset"] :][: want.size].reshape(want.shape)
        worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
    return worst


def check() -> None:
    """Check the numbers of every rule before any time is taken.

    Raises:
        SystemExit: if a number is wrong.
    """
    slugs = list(RULES)
    for start in range(0, len(slugs), 4):
        choice = Choice(rules=tuple(slugs[start : start + 4]))
        if (wrong := error(compute.picture(choice).payload, choice)) > TOLERANCE:
            sys.exit(f"the numbers of {', '.join(choice.rules)} are wrong by {wrong:.2g}: nothing was measured")
