"""A rule put together from its parts: which architecture it is, its equation, what it does on streams of lessons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from gdn_core import RULES, Gate, Stream, WriteRule, reference
from gdn_core.equation import GateLetter, Letter, Words, printed
from gdn_core.lab.studies import collision, gated, recency
from gdn_core.reference import Token
from gdn_core.rules import MAMBA, Source

#: The width of the gate behind each choice. An erase with a key of its own has a scalar gate.
DECAYS = {"none": Gate.NONE, "scalar": Gate.SCALAR, "key": Gate.KEY, "entry": Gate.MATRIX}
ERASES = {"none": Gate.NONE, "tied": Gate.SCALAR, "gate": Gate.KEY, "key": Gate.SCALAR}
WRITES = {"none": Gate.NONE, "scalar": Gate.SCALAR, "value": Gate.VALUE}
SIZE = 8  # channels of the first stream
MOST_STEPS = 3
DELTA_PRODUCT = "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products"
#: Published rules outside the family, by decay, erase and write gate: of several steps a token, and of one.
PUBLISHED = {
    ("none", "tied", "none", True): ("DeltaProduct", Source("2502.10297", "abstract", DELTA_PRODUCT)),
    ("scalar", "tied", "none", True): ("Gated DeltaProduct", Source("2502.10297", "its code in fla", DELTA_PRODUCT)),
    ("key", "key", "none", False): (
        "RWKV-7, in its form",
        Source("github.com/fla-org/flash-linear-attention", "fla/ops/generalized_delta_rule/dplr/naive.py"),
    ),
}


@dataclass(frozen=True)
class Pairs:
    """Pairs to be written, with every gate at its widest; a rule takes means over channels that it does not tell apart.

    Args:
        k, v: keys [P, K] and values [P, V].
        e: keys to erase, [P, K], of a rule that erases at a key of its own; k of the others.
        g: log decays [P, V, K]; only the first pair of a token decays.
        b: erase gates [P, K].
        w: write gates [P, V].
        token: the token of each pair, [P]; a rule takes as many pairs of a token as it has steps.
    """

    k: np.ndarray
    v: np.ndarray
    e: np.ndarray
    g: np.ndarray
    b: np.ndarray
    w: np.ndarray
    token: np.ndarray


def rule_of(decay: str, erase: str, write: str) -> WriteRule | None:
    """Return one edit of a composition as a rule of the family; None if it is none."""
    if erase == "key" or (decay == "entry" and (erase, write) != ("none", "value")):
        return None
    if decay == "entry":
        return MAMBA
    widths = DECAYS[decay], ERASES[erase], WRITES[write]
    if erase == "tied" and write == "none":
        widths = (widths[0], Gate.SCALAR, Gate.SCALAR)
    return WriteRule(
        slug="composed", title="Composed", year=2026, source=Source("composed here", "by its parts"),
        summary="Composed.", decay=widths[0], erase=widths[1], write=widths[2],
        tied=erase == "tied" and write == "none",
    )  # fmt: skip


def names(decay: str, erase: str, write: str, steps: int) -> dict[str, Source]:
    """Return the architectures that a composition is, by title."""
    if found := PUBLISHED.get((decay, erase, write, steps > 1)):
        return dict([found])
    rule = rule_of(decay, erase, write)
    if steps > 1 or rule is None:
        return {}
    gates = ("decay", "erase", "write", "tied", "discretisation", "integrator", "features", "normalised")
    return {
        one.title: one.source
        for one in RULES.values()
        if all(getattr(one, gate) == getattr(rule, gate) for gate in gates)
    }


def tex(decay: str, erase: str, write: str, steps: int) -> str:
    """Print the equation of a composition by running the reference on letters."""

    def vector(letter: str) -> Words:
        return Words(((1, (Letter(letter, lambda values: values[letter], "column"),)),))

    alpha = GateLetter("alpha", r"\bar A_t" if decay == "entry" else r"\alpha_t", DECAYS[decay])
    beta = "b_t" if erase == "gate" else r"\beta_t"
    b = GateLetter("b", beta, ERASES[erase], absent=0)
    gate = " ".join([r"\beta_t"] * (erase == "tied") + ["w_t"] * (write != "none"))
    w = GateLetter("w", gate, Gate.SCALAR if gate == r"\beta_t" else WRITES[write])
    no_decay, no_erase = GateLetter("alpha", "", Gate.NONE), GateLetter("b", "", Gate.NONE, absent=0)
    S = Words(((1, (Letter("S_{t-1}", lambda values: values["S"]),)),))
    x = Token(q=vector("q_t"), k=vector("k_t"), v=vector("v_t"), g=alpha if steps == 1 else no_decay, b=b, w=w)
    if erase == "key":
        erased = replace(x, k=vector("e_t"), v=Words(()))
        S, x = reference.step(S, erased, exp=lambda g: g)[0], replace(x, g=no_decay, b=no_erase)
    made = printed(reference.step(S, x, exp=lambda g: g)[0])
    if decay == "entry" and erase != "none":
        made = made.replace(r"\bar A_t \odot S_{t-1}", r"\left(\bar A_t \odot S_{t-1}\right)")
    if steps == 1:
        return made
    kept = printed(alpha * Words(((1, (Letter("S_{t-1}", lambda values: values["S"]),)),)))
    made = re.sub(r"_t(?![a-z])", "_{t,i}", made.replace("S_{t-1}", "S_{t,i-1}"))
    return rf"{made}, \quad {kept.replace('S_t', 'S_{t,0}', 1)}, \quad S_t = S_{{t,{steps}}}"


def pairs_of(stream: Stream, steps: int) -> Pairs:
    """Return the pairs of a stream, as many a token as there are steps; decays are spread over channels they lack."""

    def ramp(count: int) -> np.ndarray:
        return np.linspace(0.5, 1.5, count) if count > 1 else np.ones(1)

    T, V, K = stream.sizes
    g = stream.g if stream.g.ndim == 2 else stream.g[:, None] * ramp(K)
    b = np.broadcast_to(stream.beta.reshape(T, -1), (T, K))
    w = np.broadcast_to(stream.w.reshape(T, -1), (T, V))
    g = g[:, None, :] * ramp(V)[:, None]
    return Pairs(k=stream.k, v=stream.v, e=stream.k, g=g, b=b, w=w, token=np.arange(T) // steps)


def edits(decay: str, erase: str, write: str, steps: int, pairs: Pairs) -> Iterator[tuple[int, list[Token]]]:
    """Yield each pair that the rule takes, with its edit of the memory: two where the erase has a key of its own."""
    g = {"scalar": pairs.g.mean(axis=(1, 2), keepdims=True), "key": pairs.g.mean(axis=1, keepdims=True)}
    logs = pairs.g if decay == "entry" else g.get(decay, 0 * g["scalar"])
    scalar = pairs.b.mean(axis=1, keepdims=True)
    b = {"none": 0 * scalar, "gate": pairs.b}.get(erase, scalar)
    w = {"none": 1 + 0 * scalar, "scalar": pairs.w.mean(axis=1, keepdims=True), "value": pairs.w}[write]
    if erase == "tied":
        w = b * w
    for p, token in enumerate(pairs.token):
        place = int((pairs.token[:p] == token).sum())
        if place >= steps:
            continue
        log = logs[p] if place == 0 else 0 * logs[p]
        x = Token(q=pairs.k[p], k=pairs.k[p], v=pairs.v[p], g=log, b=b[p], w=w[p])
        if erase == "key":
            yield p, [replace(x, k=pairs.e[p], v=0 * x.v), replace(x, g=0 * log, b=0 * x.b)]
        else:
            yield p, [x]


def memories(decay: str, erase: str, write: str, steps: int, pairs: Pairs) -> np.ndarray:
    """Return the memory after each pair that the rule takes, [P, V, K]."""
    S, made = np.zeros((pairs.v.shape[1], pairs.k.shape[1])), []
    for _, tokens in edits(decay, erase, write, steps, pairs):
        for x in tokens:
            S, _ = reference.step(S, x)
        made.append(S)
    return np.array(made)


def first_stream() -> Stream:
    """Return eight pairs of eight channels: the fifth has the key of the first, the last lies between two others."""
    k = np.eye(SIZE)
    k[4], k[7] = k[0], (k[1] + k[2]) / np.sqrt(2)
    v = np.sign(np.random.default_rng(6).standard_normal((SIZE, SIZE)))
    one = np.ones(SIZE)
    gate = np.linspace(0.2, 1.0, SIZE) * np.ones((SIZE, 1))
    return Stream(q=k, k=k, v=v, g=np.log(0.8) * one, beta=one, w=gate, delta=one, A=-one)


def stages(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Follow the memory through the stages of eight pairs; an erase at a key of its own takes the one before.

    Returns:
        pair [8]; before, decayed, erased and written, each [8, 8, 8]; and lengths [8, 4], of the memory before, of what
        the decay leaves, of what the erase takes away and of what the write adds.
    """
    S, pairs = np.zeros((SIZE, SIZE)), pairs_of(first_stream(), steps)
    pairs = replace(pairs, e=np.roll(pairs.k, 1, axis=0))
    made: dict[str, list[np.ndarray]] = {name: [] for name in ("before", "decayed", "erased", "written")}
    for _, tokens in edits(decay, erase, write, steps, pairs):
        taken = [reference.moments(S, tokens[0])]
        if len(tokens) == 2:
            taken.append(reference.moments(taken[0].erased, tokens[1]))
        made["before"].append(taken[0].before)
        made["decayed"].append(taken[0].decayed)
        made["erased"].append(taken[0].erased)
        made["written"].append(taken[-1].written)
        S = taken[-1].written
    found = {name: np.array(rows) for name, rows in made.items()}
    before, decayed, erased, written = found.values()
    parts = np.stack([before, decayed, decayed - erased, written - erased], axis=1)
    return {"pair": np.arange(SIZE), **found, "lengths": np.linalg.norm(parts, axis=(2, 3))}


def on_collision(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Store more pairs than channels, as in the lesson on collision, with random keys.

    Returns:
        pairs [48]; error [48], the mean squared error of all pairs so far; and best [48], of any matrix.
    """
    stream = collision.stream_of(collision.keys_of("random", collision.CHANNELS), alpha=0.98)
    S = memories(decay, erase, write, steps, pairs_of(stream, steps))
    error = [
        ((stream.k[:n] @ S[n - 1].T - stream.v[:n]) ** 2).sum() / n for n in range(1, len(stream) + 1)
    ]  # values have length 1
    pairs = np.arange(1, len(stream) + 1)
    return {"pairs": pairs, "error": np.array(error), "best": collision.best_of(stream)}


def on_recency(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Write twelve values under one key, as in the lesson on recency.

    Returns:
        writes [12]; and weights [12, 12], after each write, of each value in the answer.
    """
    stream = recency.one_key(alpha=0.9, beta=0.5)
    weights = memories(decay, erase, write, steps, pairs_of(stream, steps))[:, :, 0]
    return {"writes": np.arange(1, len(weights) + 1), "weights": weights}


def on_facts(decay: str, erase: str, write: str, steps: int) -> dict[str, np.ndarray]:
    """Change the subject once and one fact once, as in the lesson on Gated DeltaNet.

    Returns:
        token [40]; and error [40, 3], of the old, the changed and the recent fact, NaN before there is one.
    """
    error = np.zeros((gated.T, 3))
    for draw in range(gated.DRAWS):
        stream = gated.facts(alpha=0.1, draw=draw)
        S = memories(decay, erase, write, steps, pairs_of(stream, steps))
        for n, fact in enumerate((gated.OLD, gated.CHANGED, gated.RECENT)):
            for t in range(gated.T):
                holds = gated.AGAIN if fact == gated.CHANGED and t >= gated.AGAIN else fact
                off = np.linalg.norm(S[t] @ stream.k[fact] - stream.v[holds])
                error[t, n] += off / gated.DRAWS if t >= fact else np.nan
    return {"token": np.arange(gated.T), "error": error}
