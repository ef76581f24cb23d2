"""The tokens that a stream has under a rule: its gates at the rule's widths."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import factorial
from statistics import median
from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines.notation import number
from derivations.engines.ring import difference
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import integrators, ssm, streams
from gdn_core.reference import Array, Token
from gdn_core.rules import (
    DELTANET,
    GATED_DELTANET,
    KIMI_DELTA_ATTENTION,
    Clock,
    Discretisation,
    Features,
    Gate,
    Integrator,
    Source,
    WriteRule,
)

T, V, K = 5, 2, 4  # an odd number of tokens has a median among them; means over 2 or 4 channels are exact in float64
_exactly: Any = np.frompyfunc(Fraction, 1, 1)


def stream(*, by_channel: bool) -> streams.Stream:
    """Return a stream in numbers that float64 holds exactly, its gates for each token or for each of its channels."""
    numbers = iter(np.arange(1.0, 1000.0) * 7 % 64 / 8)  # no two neighbours alike, and in no order

    def drawn(*shape: int) -> Array:
        return np.array([next(numbers) for _ in range(int(np.prod(shape)))]).reshape(shape)

    def gate(channels: int) -> Array:
        return drawn(T, channels) if by_channel else drawn(T)

    return streams.Stream(
        q=drawn(T, K) - 2, k=drawn(T, K) - 2, v=drawn(T, V), g=-gate(K), beta=gate(K), w=gate(V), delta=gate(V),
        A=-drawn(V, K) if by_channel else -drawn(K),
    )  # fmt: skip


def gate_of(values: Array, width: Gate, *, constant: bool) -> Array:
    """Return a gate by its definition, entry by entry, as [T, V or 1, K or 1] fractions."""
    rows: list[list[Any]] = [[Fraction(x) for x in np.atleast_1d(row)] for row in values]
    if constant:
        rows = [[median(column) for column in zip(*rows, strict=True)]] * T
    if width is Gate.SCALAR:
        rows = [[sum(row) / len(row)] for row in rows]
    channels = {Gate.SCALAR: 1, Gate.KEY: K, Gate.VALUE: V}[width]
    wide = [row * (channels // len(row)) for row in rows]
    return np.array([[[x] for x in row] if width is Gate.VALUE else [row] for row in wide], dtype=object)


def feature(rule: WriteRule, x: Array) -> Array:
    """Return the features of keys or queries; of -inf, 0 and positive numbers they are exact."""
    if rule.features is Features.IDENTITY:
        return _exactly(x)
    return np.array([[1 + Fraction(e) if e > 0 else Fraction(int(e == 0)) for e in row] for row in x], dtype=object)


def against_definition(rule: WriteRule, of: streams.Stream, make: Any = streams.tokens) -> dict[str, Any]:
    """Compare the code's tokens of a stream under a rule that is not discretised with their definition."""
    if rule.features is not Features.IDENTITY:
        of = replace(of, **{name: np.where(x < 0, -np.inf, x) for name, x in (("q", of.q), ("k", of.k))})
    with np.errstate(all="ignore"):  # of a mutant
        x: Token = make(rule, of)
    constant = rule.clock is Clock.FIXED
    none = np.full((T, 1, 1), Fraction(0))
    g, b, w = (
        none if width is Gate.NONE else gate_of(values, width, constant=constant)
        for values, width in ((of.g, rule.decay), (of.beta, rule.erase), (of.beta if rule.tied else of.w, rule.write))
    )
    v = _exactly(of.v)
    if rule.normalised:
        v = np.concatenate([v, none[:, 0] + 1], axis=1)
    w = none + 1 if rule.write is Gate.NONE else w
    if rule.integrator:  # in float64: what the integrators compute is another claim's
        floats = (b[:, 0].astype(float), (of.k * of.k).sum(1, keepdims=True), g[:, 0].astype(float))
        b, w = (_exactly(x)[:, None] for x in integrators.gates(rule.integrator, *floats, phi1=ssm.phi1))
    pairs = {
        "q": (x.q, feature(rule, of.q)), "k": (x.k, feature(rule, of.k)), "v": (x.v, v),
        "g": (x.g, g), "b": (x.b, b[:, 0]), "w": (x.w, w[:, :, 0] if rule.write is Gate.VALUE else w[:, 0]),
    }  # fmt: skip
    return {name: difference(_exactly(got), want) for name, (got, want) in pairs.items()}


def _example() -> str:
    gates = -np.array([[1.0, 3.0, 5.0, 7.0]] * T)
    of = replace(stream(by_channel=True), g=gates)
    given = ", ".join(number(Fraction(x)) for x in gates[0])
    rows = []
    for rule in (DELTANET, GATED_DELTANET, KIMI_DELTA_ATTENTION):
        g = streams.tokens(rule, of).g[0].ravel()
        rows.append(rf"\text{{{rule.title}: }} g = ({', '.join(number(Fraction(x)) for x in g)})")
    return rf"g_t = ({given}) \;\Rightarrow\; " + ", \\quad ".join(rows)


@claim(
    statement=_example,
    assumptions=("The gates of a stream are as wide as its tokens tell: one number a token, or one a channel.",),
    scope=AtPoints("T = 5, V = 2, K = 4, one stream in float64 with gates for each token, and one for each channel,"),
    engine="exact",
    source=cite("2605.22791", "abstract, for the widths of the gates; the means and medians are this project's"),
    code=(streams.tokens, streams.held, streams.featured, Gate.shape),
    rules=every_rule,
)
def stream_has_tokens_under_every_rule(rule: WriteRule) -> Any:
    """One stream has tokens under every rule: its gates at the rule's widths, and no gate that the rule has not.

    A discretised rule has the gates of its state space model.
    """
    for by_channel in (False, True):
        of = stream(by_channel=by_channel)
        if by_channel and rule.decay is Gate.VALUE:
            of = replace(of, g=of.g[:, :V])
        if rule.decay is not Gate.NONE:
            rows, columns = streams.tokens(rule, of).g.shape[1:]
            yield [a - b for a, b in zip(rule.decay.shape(V, K), (rows, columns), strict=True)]
        if not rule.discretisation:
            yield against_definition(rule, of)
            continue
        x = streams.tokens(rule, of)
        delta = gate_of(of.delta, Gate.VALUE, constant=rule.clock is Clock.FIXED)[:, :, 0]
        A = np.broadcast_to(_exactly(of.A), (V, K))
        yield [
            difference(_exactly(x.g), delta[:, :, None] * A[None]),
            *(difference(_exactly(got), _exactly(want)) for got, want in ((x.q, of.q), (x.v, of.v))),
            _exactly(x.b) + 0,
        ]
        x = streams.tokens(rule, of, discretisation=Discretisation.MAMBA)
        yield [difference(_exactly(x.w), delta), difference(_exactly(x.k), _exactly(of.k))]


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("windows of one stream of five tokens"))
def windows_and_sizes() -> Any:
    """A window has the tokens from its start on, and leaves the rates of the state space model as they are."""
    of = stream(by_channel=True)
    window = of.window(1, 4)
    fields = ("q", "k", "v", "g", "beta", "w", "delta")
    found = {name: difference(_exactly(getattr(window, name)), _exactly(getattr(of, name)[1:4])) for name in fields}
    sizes = [a - b for a, b in zip(of.sizes, (T, V, K), strict=True)]
    return {**found, "A": difference(_exactly(window.A), _exactly(of.A)), "sizes": sizes, "tokens": len(window) - 3}


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("three reads of V + 1 numbers in float64"))
def answer_of_a_normalised_rule(rule: WriteRule) -> Any:
    """A normalised rule answers what is read over its last entry, or 0 where that is 0; others what is read."""
    read = np.array([[3.0, -1.0, 2.0], [1.0, 5.0, -4.0], [7.0, 2.0, 0.0]])
    want = read if not rule.normalised else np.array([[1.5, -0.5], [-0.25, -1.25], [0.0, 0.0]])
    with np.errstate(all="ignore"):  # a mutant may divide by zero
        got = streams.answer(rule, read)
    return difference(_exactly(got), _exactly(want)) if np.isfinite(got).all() else "an answer is not finite"


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("-2, -1/2 and -1/4 in float64, to 2^-50"))
def features_of_negative_numbers(rule: WriteRule) -> Any:
    """The feature of a negative number is its exponential, here by its series."""
    x = np.array([-2.0, -0.5, -0.25])
    want = [sum(Fraction(e) ** n / factorial(n) for n in range(40)) for e in x]
    if rule.features is Features.IDENTITY:
        want = [Fraction(e) for e in x]
    off = [Fraction(got) - e for got, e in zip(streams.featured(rule, x).tolist(), want, strict=True)]
    return [e if abs(e) > Fraction(1, 2**50) else 0 for e in off]


@stream_has_tokens_under_every_rule.step(
    engine="exact", scope=AtPoints("T = 5, V = 2, K = 4, with a decay for each value channel, in float64")
)
def decay_by_value_channel() -> Any:
    """A rule may decay each value channel on its own, though none of the lineage does."""
    mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("-", "-"), summary="-", decay=Gate.VALUE)
    of = stream(by_channel=True)
    return [against_definition(mine, replace(of, g=g)) for g in (of.g[:, 0], of.g[:, :V])]


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("beta = 1/2 and a key of zeros, in float64"))
def integrators_at_a_key_of_zeros() -> Any:
    """With phi1 left out the exact step's gates are beta where the key is zero: phi1 of 0 is 1."""
    half, zero = np.array([0.5]), np.array([0.0])
    found = [integrators.exact(half, zero), integrators.gates(Integrator.EXACT, half, zero)]
    return [_exactly(gate) - Fraction(1, 2) for pair in found for gate in pair]


@stream_has_tokens_under_every_rule.refute(rules=lambda rule: rule.decay is Gate.SCALAR)
def first_channel_for_the_mean(rule: WriteRule) -> Any:
    """The decay of the first channel is taken for that of all."""
    of = stream(by_channel=True)
    return against_definition(rule, of, lambda rule, of: streams.tokens(rule, replace(of, g=of.g[:, 0])))


@stream_has_tokens_under_every_rule.refute(rules=lambda rule: rule.tied and not rule.integrator)
def write_gate_of_its_own(rule: WriteRule) -> Any:
    """A tied rule takes the write gate of the stream."""
    wrong = planted(streams.tokens, "b if rule.tied else gate(stream.w, rule.write)", "gate(stream.w, rule.write)")
    return against_definition(rule, stream(by_channel=False), wrong)
