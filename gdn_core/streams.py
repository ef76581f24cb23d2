"""Streams that do not depend on a rule, and their tokens under a rule.

A :class:`Stream` has queries, keys, values, and every gate of the family. A rule takes the gates that it has, at its
own width, and ignores the rest, so one stream runs under every rule.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gdn_core import integrators, ssm
from gdn_core.reference import Token
from gdn_core.rules import Clock, Discretisation, Features, Gate, WriteRule

Floats = np.ndarray  # float64


@dataclass(frozen=True)
class Stream:
    """T tokens for one memory of V value channels by K key channels, float64.

    Args:
        q: queries, [T, K].
        k: keys, [T, K].
        v: values, [T, V].
        g: log decay in nats, [T] or [T, K], <= 0.
        beta: erase gate, and write gate of the tied rules, [T] or [T, K], in [0, 2].
        w: write gate of the untied rules, [T] or [T, V].
        delta: step of the discretised rules, [T] or [T, V], >= 0.
        A: diagonal of the discretised rules, [K] or [V, K], <= 0; by default -1, -2, ..., -K, as Mamba initialises it.
    """

    q: Floats
    k: Floats
    v: Floats
    g: Floats
    beta: Floats
    w: Floats
    delta: Floats
    A: Floats

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.v)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The sizes (T, V, K)."""
        return len(self.v), self.v.shape[1], self.k.shape[1]

    def window(self, start: int, stop: int) -> Stream:
        """Return tokens start to stop."""
        per_token = ("q", "k", "v", "g", "beta", "w", "delta")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in per_token})


def held(rule: WriteRule, stream: Stream) -> Stream:
    """Replace the gates of a rule of constant gates by their medians over the stream.

    So every window of the result has the same constants. For other rules the stream is returned unchanged.
    """
    if rule.clock is not Clock.FIXED:
        return stream
    gates = {name: np.asarray(getattr(stream, name), dtype=float) for name in ("g", "beta", "w", "delta")}
    return replace(stream, **{name: np.broadcast_to(np.median(x, axis=0), x.shape) for name, x in gates.items()})


def featured(rule: WriteRule, x: Floats) -> Floats:
    """Apply the rule's feature map to queries or keys of any shape."""
    if rule.features is Features.IDENTITY:
        return x
    return np.where(x > 0, 1 + x, np.exp(np.minimum(x, 0)))  # elu(x) + 1


def tokens(rule: WriteRule, stream: Stream, *, discretisation: Discretisation | None = None) -> Token:
    """Make the tokens of a rule from a stream.

    A gate of the stream that is wider than the rule's is replaced by its mean over the channels; one that is narrower
    is repeated over them. A rule of constant gates takes the median over the tokens. A normalised rule gets one more
    value channel, whose value is always 1. A rule with an integrator makes both its gates of beta, its keys and decay.

    Args:
        rule: a member of the family.
        stream: T tokens.
        discretisation: instead of the rule's own, as by :meth:`~gdn_core.rules.WriteRule.discretised`.

    Returns:
        A stream of T tokens, float64, with a memory of V rows, or V + 1 for a normalised rule.

    Raises:
        ValueError: if a discretisation is given and the rule is discrete from the start.
    """
    T, V, K = stream.sizes
    stream = held(rule, stream)
    if discretisation:
        rule = rule.discretised(discretisation)

    def gate(values: Floats, width: Gate) -> Floats:
        """Return a gate of the stream, [T] or [T, channels], as [T, 1 or channels]."""
        values = values if values.ndim == 2 else values[:, None]
        if width is Gate.SCALAR:
            return values.mean(axis=1, keepdims=True)
        return np.broadcast_to(values, (T, K if width is Gate.KEY else V))

    if rule.discretisation:
        A = np.broadcast_to(stream.A, (V, K))
        delta = gate(stream.delta, Gate.VALUE)
        return ssm.tokens(stream.v, delta, A, stream.k, stream.q, method=rule.discretisation)
    none = np.zeros((T, 1))
    g = none if rule.decay is Gate.NONE else gate(stream.g, rule.decay)
    b = none if rule.erase is Gate.NONE else gate(stream.beta, rule.erase)
    w = none + 1 if rule.write is Gate.NONE else b if rule.tied else gate(stream.w, rule.write)
    k = featured(rule, stream.k)
    if rule.integrator:
        b, w = integrators.gates(rule.integrator, b, (k * k).sum(-1, keepdims=True), g)
    v = np.concatenate([stream.v, none + 1], axis=1) if rule.normalised else stream.v
    g = g[:, :, None] if rule.decay is Gate.VALUE else g[:, None, :]
    return Token(q=featured(rule, stream.q), k=k, v=v, g=g, b=b, w=w)


def answer(rule: WriteRule, read: Floats) -> Floats:
    """Return a rule's output, [..., V], from what is read from its memory, [..., V] or [..., V + 1] if normalised.

    Where the normaliser is zero nothing has been written, and the output is 0.
    """
    if not rule.normalised:
        return read
    total = read[..., -1:]
    return np.divide(read[..., :-1], total, out=np.zeros_like(read[..., :-1]), where=total != 0)
