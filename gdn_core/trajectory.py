"""Run write rules over one stream and keep what a viewer needs of every token.

What is run is float32 and comes from :func:`gdn_core.streams.tokens`; the arithmetic is that of
:mod:`gdn_core.reference`, and one Triton kernel does it for all rules at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gdn_core import streams
from gdn_core.reference import Moments, Token
from gdn_core.rules import LINEAGE, RULES, Discretisation, WriteRule

Floats32 = np.ndarray  # float32

MOST_RULES = 8


@dataclass(frozen=True)
class Operands:
    """What a rule's tokens are to the kernel: float32, and an axis along which nothing changes has size 1.

    Args:
        decay: exp(g), [T|1, V|1, K|1].
        k: key, [T|1, V|1, K].
        erase: b*k, what the memory is asked before the write, [T|1, V|1, K].
        wv: w*v, what is to be written, [T, V].
        q: query, [T, K].

    A normalised rule has one more value channel than the stream.
    """

    decay: Floats32
    k: Floats32
    erase: Floats32
    wv: Floats32
    q: Floats32


@dataclass(frozen=True)
class Run:
    """Where a trajectory was computed.

    Args:
        backend: "triton" (compiled, on a GPU), "interpreter" (the same kernel in Triton's interpreter) or "torch".
        device: the device in words.
        seconds: the time the launch took.
        refusals: the backends that were not taken, each with the sentence that says why.
    """

    backend: str
    device: str
    seconds: float
    refusals: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """What R rules did to their memories over the same T tokens, float32.

    Args:
        rules: the rules, in the order of the first axis everywhere.
        stream: the stream they ran on.
        tokens: the tokens each rule made of it.
        operands: what the kernel was given, for each rule.
        states: memories, [R, T + 1, V, K]; index 0 is before the first token.
        normaliser: the sum of keys of a normalised rule, zeros for the others, [R, T + 1, K].
        read: what the decayed memory answered to the erase key, [R, T, V].
        u: the error w*v - read, [R, T, V].
        wv: what was to be written, w*v, [R, T, V].
        o: outputs, [R, T, V].
        run: where it was computed.
    """

    rules: tuple[WriteRule, ...]
    stream: streams.Stream
    tokens: tuple[Token, ...]
    operands: tuple[Operands, ...]
    states: Floats32
    normaliser: Floats32
    read: Floats32
    u: Floats32
    wv: Floats32
    o: Floats32
    run: Run

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes (T, V, K)."""
        return self.stream.sizes

    def moments(self, r: int, t: int) -> Moments:
        """Return the memory of rule r around token t, stage by stage, exactly as the kernel passed through it."""
        V = self.stream.sizes[1]
        x = self.operands[r]
        decay, k = x.decay[min(t, len(x.decay) - 1)][:V], x.k[min(t, len(x.k) - 1)][:V]  # [V|1, K|1], [V|1, K]
        before, written = self.states[r, t], self.states[r, t + 1]
        decayed = decay * before
        erased = decayed - self.read[r, t][:, None] * k
        return Moments(before, decayed, erased, written, self.read[r, t], self.u[r, t], self.o[r, t])


def trajectory(
    rules: str | WriteRule | Sequence[str | WriteRule],
    stream: streams.Stream,
    *,
    initial_state: np.ndarray | None = None,
    discretisation: Discretisation | None = None,
    backend: str | None = None,
) -> Trajectory:
    """Run one to eight rules over a stream and record every token.

    Args:
        rules: slugs of :data:`gdn_core.rules.RULES`, or rules.
        stream: T tokens of a memory of V value channels by K key channels.
        initial_state: memory before the first token, [V, K] for every rule or [R, V, K]; zeros by default. The
            normaliser of a normalised rule always starts at zero.
        discretisation: replaces the own one of the rules that have one.
        backend: "triton", "interpreter" or "torch"; by default the first that this machine can take.

    Raises:
        ValueError: if a rule is unknown, the initial state does not fit, or the backend cannot take the request.
    """
    chosen = _rules(rules)
    _, V, K = stream.sizes
    start = _initial_state(initial_state, len(chosen), V, K)
    tokens = tuple(
        streams.tokens(rule, stream, discretisation=discretisation if rule.discretisation else None) for rule in chosen
    )
    operands = tuple(_operands(x) for x in tokens)
    began = time.perf_counter()
    records = [_by_reference(x, S) for x, S in zip(operands, start)]
    run = Run("torch", "CPU, by NumPy until the kernel is in place", time.perf_counter() - began)
    return _assemble(chosen, stream, tokens, operands, start, records, run)


def _by_reference(x: Operands, S: Floats32) -> tuple[Floats32, Floats32]:
    """Run one rule by the reference: what was read [T, V'] and the outputs [T, V']."""
    T, V = x.wv.shape
    S = np.concatenate([S, np.zeros((V - len(S), S.shape[1]), np.float32)])
    read, o = np.empty((T, V), np.float32), np.empty((T, V), np.float32)
    for t in range(T):
        decay, k, erase = (a[min(t, len(a) - 1)] for a in (x.decay, x.k, x.erase))
        decayed = decay * S
        read[t] = (decayed * erase).sum(-1)
        S = decayed + (x.wv[t] - read[t])[:, None] * k
        o[t] = S @ x.q[t]
    return read, o


def _rules(rules: str | WriteRule | Sequence[str | WriteRule]) -> tuple[WriteRule, ...]:
    """Look up slugs, and check that there are one to eight rules."""
    given = (rules,) if isinstance(rules, str | WriteRule) else tuple(rules)
    if not 1 <= len(given) <= MOST_RULES:
        raise ValueError(f"rules: expected 1 to {MOST_RULES} rules, got {len(given)}")
    for rule in given:
        if isinstance(rule, WriteRule) or rule in RULES:
            continue
        if any(rule == row.slug for row in LINEAGE):
            raise ValueError(f"rules: {rule} is outside the family: its memory is a cache that grows with the stream")
        raise ValueError(f"rules: expected slugs among {', '.join(RULES)}, got {rule!r}")
    return tuple(rule if isinstance(rule, WriteRule) else RULES[rule] for rule in given)


def _initial_state(state: np.ndarray | None, R: int, V: int, K: int) -> Floats32:
    """Return a memory for each rule, [R, V, K]."""
    if state is None:
        return np.zeros((R, V, K), np.float32)
    state = np.asarray(state, dtype=np.float32)
    if state.shape not in ((V, K), (R, V, K)):
        raise ValueError(f"initial_state: expected [V, K] = {[V, K]} or [R, V, K] = {[R, V, K]}, got {list(state.shape)}")
    if not np.isfinite(state).all():
        raise ValueError("initial_state: expected finite numbers, got NaN or infinity")
    return np.ascontiguousarray(np.broadcast_to(state, (R, V, K)))


def _operands(x: Token) -> Operands:
    """Round a rule's tokens to what the kernel loads."""
    k = x.k if x.k.ndim == 3 else x.k[:, None, :]
    return Operands(
        decay=_narrowed(np.exp(x.g), axes=(0, 1, 2)),
        k=_narrowed(k, axes=(0, 1)),
        erase=_narrowed(x.b[:, None, :] * k, axes=(0, 1)),
        wv=np.ascontiguousarray(x.w * x.v, dtype=np.float32),
        q=np.ascontiguousarray(x.q, dtype=np.float32),
    )


def _narrowed(x: np.ndarray, axes: tuple[int, ...]) -> Floats32:
    """Round to float32, and keep one entry of each of these axes along which nothing changes."""
    x = np.asarray(x, dtype=np.float32)
    for axis in axes:
        first = x.take([0], axis=axis)
        if (x == first).all():
            x = first
    return np.ascontiguousarray(x)


def _assemble(
    rules: tuple[WriteRule, ...],
    stream: streams.Stream,
    tokens: tuple[Token, ...],
    operands: tuple[Operands, ...],
    start: Floats32,
    records: list[tuple[Floats32, Floats32]],
    run: Run,
) -> Trajectory:
    """Replay the states from the recorded reads, and put the rules on one axis."""
    T, V, K = stream.sizes
    R = len(rules)
    states, normaliser = np.empty((R, T + 1, V, K), np.float32), np.zeros((R, T + 1, K), np.float32)
    read, u, wv, o = (np.empty((R, T, V), np.float32) for _ in range(4))
    for r, (rule, x, (full_read, full_o)) in enumerate(zip(rules, operands, records)):
        full_u = x.wv - full_read
        S = np.concatenate([start[r], np.zeros((x.wv.shape[1] - V, K), np.float32)])
        states[r, 0] = S[:V]
        for t in range(T):
            decay, k = x.decay[min(t, len(x.decay) - 1)], x.k[min(t, len(x.k) - 1)]
            S = decay * S + full_u[t][:, None] * k
            states[r, t + 1] = S[:V]
            if rule.normalised:
                normaliser[r, t + 1] = S[V]
        read[r], u[r], wv[r], o[r] = full_read[:, :V], full_u[:, :V], x.wv[:, :V], streams.answer(rule, full_o)
    return Trajectory(rules, stream, tokens, operands, states, normaliser, read, u, wv, o, run)
