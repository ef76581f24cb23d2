"""Tasks for a rule that is put together: pairs with the best gates for the task, and what its memory should answer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdn_core import Stream
from gdn_core.lab.studies.compose import DECAYS, Pairs, memories

SIZE, FACTS, HALF = 16, 12, 8  # channels, facts that are asked, and channels of one half
CLEAR = -40.0  # a log decay that leaves nothing
BEATEN = 0.95
NAMES = ("keep", "forget", "subject", "half", "part", "mask", "at-once")
#: Others to compare with: linear attention, Gated DeltaNet, Gated DeltaNet-2.
OTHERS = (("none", "none", "none", 1), ("scalar", "tied", "none", 1), ("key", "gate", "value", 1))


@dataclass(frozen=True)
class Task:
    """Pairs with their gates, and what is asked: keys [12, K], and the values that should be answered [12, V]."""

    pairs: Pairs
    asked: np.ndarray
    wanted: np.ndarray


def pairs_of(k: np.ndarray, v: np.ndarray) -> Pairs:
    """Return pairs, a token each, whose gates keep everything and write everything."""
    one = np.ones((len(k), SIZE))
    return Pairs(k=k, v=v, e=k, g=np.zeros((len(k), SIZE, SIZE)), b=one, w=one, token=np.arange(len(k)))


def facts() -> tuple[np.ndarray, np.ndarray]:
    """Return twelve keys at right angles, six in either half of the channels, and unit values."""
    rng = np.random.default_rng(8)
    k = np.zeros((FACTS, SIZE))
    for half in range(2):
        turned = np.linalg.qr(rng.standard_normal((HALF, HALF)))[0]
        k[6 * half : 6 * half + 6, HALF * half : HALF * (half + 1)] = turned[:6]
    v = rng.standard_normal((FACTS, SIZE))
    return k, v / np.linalg.norm(v, axis=1, keepdims=True)


def task(name: str) -> Task:
    """Make a task.

    Args:
        name: "keep" twelve facts; "forget" three of them on command; forget a "subject" of eight at a change to another
            of four; forget the "half" of the facts in eight key channels; forget a "part" of the values there; "mask"
            the second half of every value; forget four facts "at-once" with writing four others.
    """
    k, v = facts()
    wanted, pairs = v.copy(), pairs_of(k, v)
    g, w = pairs.g.copy(), pairs.w.copy()
    if name == "forget":
        gone = [1, 6, 10]
        wanted[gone] = 0
        pairs = joined(pairs, pairs_of(k[gone], 0 * v[gone]))
    elif name == "subject":
        g[8] = CLEAR  # before the ninth fact is written
        wanted[:8] = 0
        pairs = replace(pairs, g=g)
    elif name in ("half", "part"):
        rows = slice(None) if name == "half" else slice(HALF)
        nothing = pairs_of(0 * k[:1], 0 * v[:1])  # a token that only decays
        late = nothing.g.copy()
        late[0, rows, :HALF] = CLEAR
        wanted[:6, rows] = 0
        pairs = joined(pairs, replace(nothing, g=late))
    elif name == "mask":
        w[:, HALF:] = 0
        wanted[:, HALF:] = 0
        pairs = replace(pairs, w=w)
    elif name == "at-once":
        order = np.array([8, 0, 9, 1, 10, 2, 11, 3])  # each token writes a fact, and forgets one in a second edit
        new = (order >= 8)[:, None]
        later = replace(pairs_of(k[order], new * v[order]), e=k[order % 8], token=np.arange(8) // 2)
        wanted[:4] = 0
        pairs = joined(pairs_of(k[:8], v[:8]), later)
    return Task(pairs, k, wanted)


def to_forget() -> Stream:
    """Return the pairs of the task to forget three facts, as a stream."""
    pairs = task("forget").pairs
    one = np.ones(len(pairs.k))
    return Stream(q=pairs.k, k=pairs.k, v=pairs.v, g=0 * one, beta=one, w=one, delta=one, A=-np.ones(SIZE))


FIELDS = ("k", "v", "e", "g", "b", "w", "token")


def joined(first: Pairs, second: Pairs) -> Pairs:
    """Return the pairs of both, those of the second in tokens behind those of the first."""
    second = replace(second, token=second.token + first.token[-1] + 1)
    return Pairs(*(np.concatenate([getattr(first, field), getattr(second, field)]) for field in FIELDS))


def gates(decay: str, erase: str, write: str) -> int:
    """Count the numbers of a token's gates; a tied write gate costs nothing, a key to erase as many as it has."""
    widths = {"none": 0, "scalar": 1, "key": SIZE, "entry": SIZE**2}
    erases = {"none": 0, "tied": 1, "gate": SIZE, "key": 1 + SIZE}
    return widths[decay] + erases[erase] + {"none": 0, "scalar": 1, "value": SIZE}[write]


def beaten(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Give a composition and a few known rules every task, and score them.

    A fact scores 1 less the distance of its answer from what is wanted, and at least 0. Values have length 1.

    Returns:
        task [N], their names; score [N, 4], the means over the facts: of the composition and of ``OTHERS``; answered
        and wanted [N, 12, 16], of the composition; and gates, the numbers that its gates have for a token and step.
    """
    assert decay in DECAYS
    rules = ((decay, erase, write, steps), *OTHERS)
    score, answered, wanted = np.zeros((len(NAMES), len(rules))), [], []
    for n, name in enumerate(NAMES):
        made = task(name)
        for r, rule in enumerate(rules):
            answer = made.asked @ memories(*rule, made.pairs)[-1].T
            off = np.linalg.norm(answer - made.wanted, axis=1)
            score[n, r] = np.maximum(1 - off, 0).mean()
            if r == 0:
                answered.append(answer)
                wanted.append(made.wanted)
    return {
        "task": np.array(NAMES), "score": score, "answered": np.array(answered), "wanted": np.array(wanted),
        "gates": np.array(gates(decay, erase, write)),
    }  # fmt: skip
