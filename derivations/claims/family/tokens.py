"""The tokens that a stream has under a rule: its gates at the rule's widths."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import factorial
from statistics import median
from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines.notation import number
from derivations.engines.ring import difference
from derivations.models.published import FIXED, PUBLISHED, published
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import integrators, reference, ssm, streams
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

#: T, V and K: few and many, even and odd, V = K, V < K and V > K, T = V and T = K.
SIZES = ((5, 2, 4), (1, 1, 3), (2, 3, 3), (4, 4, 4), (3, 12, 2), (1, 2, 12), (12, 1, 12), (17, 2, 1))
LONG = (12, 16, 12)
TINY = 2.0**-30
_exactly: Any = np.frompyfunc(Fraction, 1, 1)


def stream(sizes: tuple[int, int, int] = SIZES[0], *, by_channel: bool) -> streams.Stream:
    """Return a stream in numbers that float64 holds exactly, its gates for each token or for each of its channels.

    Numbers are multiples of 3/8, so that their mean over 3 or 12 channels is exact, too.
    """
    T, V, K = sizes
    numbers = iter(3 * (np.arange(1.0, 2000.0) * 7 % 64) / 8)  # no two neighbours alike, and in no order

    def drawn(*shape: int) -> Array:
        return np.array([next(numbers) for _ in range(int(np.prod(shape)))]).reshape(shape)

    def gate(channels: int) -> Array:
        return drawn(T, channels) if by_channel else drawn(T)

    return streams.Stream(
        q=drawn(T, K) - 2, k=drawn(T, K) - 2, v=drawn(T, V), g=-gate(K), beta=gate(K), w=gate(V), delta=gate(V),
        A=-drawn(V, K) if by_channel else -drawn(K),
    )  # fmt: skip


def gate_of(values: Array, width: Gate, of: streams.Stream, *, constant: bool) -> Array:
    """Return a gate of a stream by its definition, entry by entry, as [T, V or 1, K or 1] fractions."""
    (T, V), K = of.v.shape, of.k.shape[1]
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
    none = np.full((len(of.v), 1, 1), Fraction(0))
    g, b, w = (
        none if width is Gate.NONE else gate_of(values, width, of, constant=constant)
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
    return {
        name: difference(_exactly(got), want) if np.isfinite(got).all() else "not finite"
        for name, (got, want) in pairs.items()
    }


def _example() -> str:
    gates = -np.array([[1.0, 3.0, 5.0, 7.0]] * 5)
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
    scope=AtPoints(
        f"{len(SIZES)} combinations of T, V and K from 1 to 17, two streams each in float64, with gates for each token "
        "and for each channel,"
    ),
    engine="exact",
    source=cite("2605.22791", "abstract, for the widths of the gates; the means and medians are this project's"),
    code=(streams.tokens, streams.held, streams.featured, Gate.shape, reference.recurrent),
    rules=every_rule,
)
def stream_has_tokens_under_every_rule(rule: WriteRule) -> Any:
    """One stream has tokens under every rule: its gates at the rule's widths, and no gate that the rule has not.

    A discretised rule has the gates of its state space model.
    """
    for sizes, by_channel in itertools.product(SIZES, (False, True)):
        T, V, K = sizes
        at = f"T = {T}, V = {V}, K = {K}, gates by {'channel' if by_channel else 'token'}:"
        of = stream(sizes, by_channel=by_channel)
        if by_channel and rule.decay is Gate.VALUE:
            of = replace(of, g=of.w)
        if rule.decay is not Gate.NONE:
            rows, columns = streams.tokens(rule, of).g.shape[1:]
            yield {at: [a - b for a, b in zip(rule.decay.shape(V, K), (rows, columns), strict=True)]}
        yield {at: of_state_space_model(rule, of) if rule.discretisation else against_definition(rule, of)}


def of_state_space_model(rule: WriteRule, of: streams.Stream) -> list[Any]:
    """Compare the code's tokens of a stream under a discretised rule with Delta, A, B and C."""
    x = streams.tokens(rule, of)
    delta = gate_of(of.delta, Gate.VALUE, of, constant=rule.clock is Clock.FIXED)[:, :, 0]
    A = np.broadcast_to(_exactly(of.A), (of.v.shape[1], of.k.shape[1]))
    euler = streams.tokens(rule, of, discretisation=Discretisation.MAMBA)
    widths = {Discretisation.MAMBA: euler.w[0][:, None].shape, Discretisation.ZOH: A.shape}  # of the write gate
    return [
        [a - b for method, wide in widths.items()
         for a, b in zip(rule.discretised(method).write.shape(*A.shape), wide, strict=True)],
        difference(_exactly(x.g), delta[:, :, None] * A[None]),
        *(difference(_exactly(got), _exactly(want)) for got, want in ((x.q, of.q), (x.v, of.v))),
        _exactly(x.b) + 0,
        difference(_exactly(euler.w), delta),
        difference(_exactly(euler.k), _exactly(of.k)),
    ]


@stream_has_tokens_under_every_rule.step(
    engine="exact", scope=AtPoints(f"every window of streams of {SIZES[0][0]} and {LONG[0]} tokens")
)
def windows_and_sizes() -> Any:
    """A window has the tokens from its start on, and leaves the rates of the state space model as they are."""
    for sizes in (SIZES[0], LONG):
        of = stream(sizes, by_channel=True)
        yield [a - b for a, b in zip(of.sizes, sizes, strict=True)] + [len(of) - sizes[0]]
        for start, stop in ((0, 0), *itertools.combinations(range(len(of.v) + 1), 2)):
            window = of.window(start, stop)
            fields = ("q", "k", "v", "g", "beta", "w", "delta")
            found = {name: difference(getattr(window, name), getattr(of, name)[start:stop]) for name in fields}
            found |= {"A": difference(window.A, of.A), "tokens": len(window) - (stop - start)}
            yield {f"tokens {start} to {stop}, {name}:": _first(off) for name, off in found.items()}


@stream_has_tokens_under_every_rule.step(
    engine="exact",
    scope=AtPoints(f"streams of {SIZES[0][0]} and {LONG[0]} tokens in float64, gates by token and by channel,"),
)
def gates_that_are_held(rule: WriteRule) -> Any:
    """A rule of constant gates holds each of them at its median over the tokens; others leave a stream as it is."""
    for sizes, by_channel in itertools.product((SIZES[0], LONG), (False, True)):
        of = stream(sizes, by_channel=by_channel)
        held = streams.held(rule, of)
        for name in ("g", "beta", "w", "delta"):
            values = np.asarray(getattr(of, name))
            if rule.clock is Clock.FIXED:
                values = np.broadcast_to(np.apply_along_axis(median, 0, values), values.shape)
            yield {f"{name}, {sizes[0]} tokens:": _first(difference(getattr(held, name), values))}


def _first(off: Any) -> Any:
    """Return the first entry of an array that is not zero, exactly; 0 if there is none."""
    return off if isinstance(off, int | str) else next((Fraction(x) for x in off.flat if x), 0)


@stream_has_tokens_under_every_rule.step(
    engine="exact", scope=AtPoints("reads of V + 1 numbers in float64, V = 2 and 12, alone, in rows and in blocks")
)
def answer_of_a_normalised_rule(rule: WriteRule) -> Any:
    """A normalised rule answers what is read over its last entry, or 0 where that is 0; others what is read."""
    few = np.array([[3.0, -1.0, 2.0], [1.0, 5.0, -4.0], [7.0, 2.0, 0.0], [3 * TINY, -TINY, TINY]])
    want = few if not rule.normalised else np.array([[1.5, -0.5], [-0.25, -1.25], [0.0, 0.0], [3.0, -1.0]])
    wide = np.concatenate([np.tile(few[:, :2], 6), few[:, 2:]], axis=1)
    widely = wide if not rule.normalised else np.tile(want, 6)
    for read, wanted in ((few, want), (wide, widely)):
        pairs = [*zip(read, wanted, strict=True), (read, wanted), (np.stack([read] * 2), np.stack([wanted] * 2))]
        for one, other in pairs:
            with np.errstate(all="ignore"):  # a mutant may divide by zero
                got = streams.answer(rule, one)
            fine = np.isfinite(got).all()
            yield {f"of {list(one.shape)}:": difference(_exactly(got), _exactly(other)) if fine else "not finite"}


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("-4, -2, -1/2, -1/4 in float64, to 2^-50"))
def features_of_negative_numbers(rule: WriteRule) -> Any:
    """The feature of a negative number is its exponential, here by its series."""
    x = np.array([-4.0, -2.0, -0.5, -0.25])
    want = [sum(Fraction(e) ** n / factorial(n) for n in range(40)) for e in x]
    if rule.features is Features.IDENTITY:
        want = [Fraction(e) for e in x]
    off = [Fraction(got) - e for got, e in zip(streams.featured(rule, x).tolist(), want, strict=True)]
    return [e if abs(e) > Fraction(1, 2**50) else 0 for e in off]


@stream_has_tokens_under_every_rule.step(
    engine="exact", scope=AtPoints(f"{len(SIZES)} combinations of T, V and K, with a decay for each value channel,")
)
def decay_by_value_channel() -> Any:
    """A rule may decay each value channel on its own, though none of the lineage does."""
    mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("-", "-"), summary="-", decay=Gate.VALUE)
    every = [stream(sizes, by_channel=True) for sizes in SIZES]
    return [against_definition(mine, replace(of, g=g)) for of in every for g in (of.g[:, 0], of.w)]


@stream_has_tokens_under_every_rule.step(engine="exact", scope=AtPoints("beta = 1/2 and a key of zeros, in float64"))
def integrators_at_a_key_of_zeros() -> Any:
    """With phi1 left out the exact step's gates are beta where the key is zero: phi1 of 0 is 1."""
    half, zero = np.array([0.5]), np.array([0.0])
    found = [integrators.exact(half, zero), integrators.gates(Integrator.EXACT, half, zero)]
    return [_exactly(gate) - Fraction(1, 2) for pair in found for gate in pair]


PUBLISHED_AT = ((6, 3, 4), (5, 3, 3), (4, 2, 18), (3, 12, 11))  # T, V and K


def as_published(rule: WriteRule, rng: random.Random, entry: WriteRule | None = None) -> Iterator[dict[str, Any]]:
    """Compare tokens of a stream, one by one by the code, with the published recurrence of the rule.

    Args:
        rule: the rule.
        rng: draws the streams.
        entry: the data of the rule; by default those of the lineage.
    """
    for (T, V, K), by_channel in itertools.product(PUBLISHED_AT, (False, True)):
        drawn = np.random.default_rng(rng.getrandbits(32)).uniform
        gates = {name: (T, channels) if by_channel else (T,) for name, channels in (
            ("g", K), ("beta", K), ("w", V), ("delta", V))}  # fmt: skip
        of = streams.Stream(
            q=drawn(-1, 1, (T, K)), k=drawn(-1, 1, (T, K)), v=drawn(-1, 1, (T, V)), A=drawn(-2, -1, (V, K)),
            **{name: drawn(-2, -0.1, shape) if name == "g" else drawn(0.1, 2, shape) for name, shape in gates.items()},
        )  # fmt: skip
        S = drawn(-1, 1, (V + rule.normalised, K))
        x = streams.tokens(entry or rule, of)
        after, o = reference.recurrent(S, x)
        wanted, outputs = published(rule.slug, S, of, by_channel=by_channel)
        pairs = {"S": (after, wanted), "o": (streams.answer(entry or rule, o), outputs)}
        at = f"T = {T}, K = {K}, V = {V}, gates by {'channel' if by_channel else 'token'}"
        for name, (got, want) in pairs.items():
            yield {f"{at}, {name}:": _off(got, want)}


def _off(got: Array, want: Array) -> Any:
    """Return the differences that are larger than float64 rounds."""
    if got.shape != want.shape:
        return f"of shape {list(got.shape)}, expected {list(want.shape)}"
    off = got - want
    return _exactly(np.where(abs(off) > 2**-36 * (1 + abs(want)), off, 0))


@stream_has_tokens_under_every_rule.step(
    engine="exact", rules=lambda rule: rule.slug in PUBLISHED, scope=AtPoints(
        f"{len(PUBLISHED_AT)} combinations of T, V and K, gates for each token and for each channel, to 2^-36"
    ),
)  # fmt: skip
def recurrence_of_every_rule_as_published(rule: WriteRule, rng: random.Random) -> Any:
    """With its tokens the code computes the recurrence of each rule of the lineage, here in a formula for each."""
    return as_published(rule, rng)


@stream_has_tokens_under_every_rule.refute(rules=lambda rule: rule.slug in PUBLISHED and rule.decay is Gate.KEY)
def one_decay_for_all_channels(rule: WriteRule, rng: random.Random) -> Any:
    """A rule with a decay for each key channel is entered with one decay."""
    return as_published(rule, rng, replace(rule, decay=Gate.SCALAR))


@stream_has_tokens_under_every_rule.refute(rules=lambda rule: rule.slug in FIXED)
def constant_gates_that_are_not(rule: WriteRule, rng: random.Random) -> Any:
    """A rule of constant gates is entered as one with gates of each token."""
    return as_published(rule, rng, replace(rule, clock=Clock.TOKEN))


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
