"""The family: which rule contains which, by which values of its gates, and which does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import Counterexample, Every, EverySize, Sizes, claim, every_rule
from derivations.claims.scan import Model
from derivations.engines import arrays
from derivations.engines.printed import Kind, Written, entry, exp, letters, phi1
from derivations.engines.ring import Ring
from derivations.engines.tokens import Case, symbols
from derivations.engines.trees import Expr
from derivations.engines.words import Algebra
from gdn_core import reference, ssm, streams
from gdn_core.equation import tex
from gdn_core.reference import Token
from gdn_core.rules import (
    DELTANET,
    FAST_WEIGHTS,
    GATED_DELTANET,
    GATED_DELTANET_2,
    GLA,
    KIMI_DELTA_ATTENTION,
    LINEAR_ATTENTION,
    MAMBA,
    MAMBA2,
    RETNET,
    RULES,
    S4,
    Clock,
    Discretisation,
    Gate,
    Source,
    WriteRule,
)

GDN_2 = Source("2605.22791", "abstract; the equation as in flash-linear-attention", "Gated DeltaNet-2")
TABLE = Source("2412.06464", "table 1", "Gated Delta Networks: Improving Mamba2 with Delta Rule")


# Which contains which.

_WIDER = {
    Gate.NONE: set(Gate),
    Gate.SCALAR: {Gate.SCALAR, Gate.KEY, Gate.VALUE, Gate.MATRIX},
    Gate.KEY: {Gate.KEY, Gate.MATRIX},
    Gate.VALUE: {Gate.VALUE, Gate.MATRIX},
    Gate.MATRIX: {Gate.MATRIX},
}


def contains(wide: WriteRule, narrow: WriteRule) -> bool:
    """Tell from the widths of the gates whether one rule is another one at special values of its gates.

    The gates of a discretised rule come from one step, and are not free: those have claims of their own.
    """
    widths = ((wide.decay, narrow.decay), (wide.erase, narrow.erase), (wide.write, narrow.write))
    constant = narrow.clock is Clock.FIXED or {narrow.decay, narrow.erase, narrow.write} == {Gate.NONE}
    return (
        all(w in _WIDER[n] for w, n in widths)
        and (narrow.tied or not wide.tied)
        and (constant or wide.clock is Clock.TOKEN)
        and (wide.discretisation, wide.features, wide.normalised)
        == (narrow.discretisation, narrow.features, narrow.normalised)
    )


def embedded(x: Token, wide: WriteRule) -> Token:
    """Write the tokens of a narrower rule at the widths of a wider one."""
    T, V, K = len(x), x.v.shape[1], x.q.shape[1]
    if wide.write is Gate.MATRIX and x.k.ndim == 2:
        k, w = x.w[:, :, None] * x.k[:, None, :] + 0 * x.v[:, :, None], 0 * x.w[:, :1] + 1
    else:
        k, w = x.k, np.broadcast_to(x.w, (T, wide.write.shape(V, K)[0] if wide.write is not Gate.MATRIX else 1))
    g, b = np.broadcast_to(x.g, (T, *wide.decay.shape(V, K))), np.broadcast_to(x.b, (T, wide.erase.shape(V, K)[1]))
    return replace(x, k=k, g=g, b=b, w=w)


def obeyed(rule: WriteRule, x: Token) -> dict[str, Any]:
    """Return what must be zero of tokens that a rule could have made."""
    found: dict[str, Any] = {}
    if rule.decay is Gate.NONE:
        found["no decay"] = x.g
    if rule.clock is Clock.FIXED:
        found["one decay"] = x.g - x.g[:1]
    if rule.erase is Gate.NONE:
        found["nothing erased"] = x.b
    if rule.tied:
        found["one gate"] = x.b - x.w
    elif rule.write in (Gate.NONE, Gate.MATRIX):
        found["everything written"] = x.w - 1
    return found


def edge(wide: WriteRule, narrow: WriteRule) -> dict[str, Any]:
    """Run the narrower rule's tokens as the wider rule's, and as its own."""
    case = symbols(narrow, 3, 2, 3)
    wider = replace(case, x=embedded(case.x, wide))
    return {
        **wider.compare(wider.run(reference.recurrent), case.run(reference.recurrent)),
        **obeyed(wide, wider.x),
    }


class Nested:
    """The step of each rule at the gates of the rule below it, in words."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta gamma")
        self.alpha, self.beta, self.gamma = a.all_scalars()
        self.S, self.A, self.B, self.W = (
            a.matrix("S", "V", "K"),
            a.diagonal("A", "K"),
            a.diagonal("B", "K"),
            a.diagonal("W", "V"),
        )
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.I_K, self.I_V = a.identity("K"), a.identity("V")

    def step(self, decay: Expr | int, erase: Expr | int, write: Expr | int) -> Expr:
        """Run the code's step, and return the memory."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=decay, erase=erase, write=write)
        return reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)[0].word

    def edges(self) -> dict[str, tuple[Expr, Expr]]:
        """Return for each edge the wider rule's step at the narrower rule's gates, and the narrower rule's step."""
        step, alpha, beta = self.step, self.alpha, self.beta
        A, I_K, I_V = self.A, self.I_K, self.I_V
        kda, gdn, delta = step(A, beta, beta), step(alpha, beta, beta), step(1, beta, beta)
        gla, mamba_2, retnet, linear = step(A, 0, 1), step(alpha, 0, 1), step(self.gamma, 0, 1), step(1, 0, 1)
        zero = 0 * beta
        return {
            r"Gated DeltaNet-2 to KDA: B = \beta I, W = \beta I": (step(A, beta * I_K, beta * I_V), kda),
            r"KDA to Gated DeltaNet: A = \alpha I": (step(alpha * I_K, beta, beta), gdn),
            r"Gated DeltaNet to DeltaNet: \alpha = 1": (step(self.algebra.number(1), beta, beta), delta),
            r"Gated DeltaNet-2 to GLA: B = 0, W = I": (step(A, zero * I_K, I_V), gla),
            r"GLA to Mamba-2: A = \alpha I": (step(alpha * I_K, 0, 1), mamba_2),
            r"Mamba-2 to RetNet: \alpha = \gamma": (step(self.gamma, zero, self.algebra.number(1)), retnet),
            r"RetNet to linear attention: \gamma = 1": (step(self.algebra.number(1), 0, 1), linear),
        }


def _statement() -> str:
    words = Nested()
    whole = words.step(words.A, words.B, words.W).normal().tex()
    lines = [rf"\text{{Gated DeltaNet-2}} &: S_t = {whole}"]
    for edge, (wide, _) in words.edges().items():
        names, at = edge.split(": ")
        lines.append(rf"\text{{{names}}} &: {at}: \quad {wide.normal().tex()}")
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


@claim(
    statement=_statement,
    assumptions=(
        "Memory and outputs are contained, from the same queries, keys, values. RetNet is Mamba-2 at a constant decay.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=GDN_2,
    code=(reference.step,),
    rules=every_rule,
)
def wider_rules_contain_the_narrower_ones() -> Any:
    """From Gated DeltaNet-2 down to linear attention, each rule is the one above it at special values of the gates."""
    return {name: (wide - narrow).normal() for name, (wide, narrow) in Nested().edges().items()}


@wider_rules_contain_the_narrower_ones.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def every_rule_that_the_widths_let_it_contain(rule: WriteRule) -> Iterator[Any]:
    """What the widths of the gates say is contained, runs as what contains it: in the rule, and the rule in others."""
    for other in RULES.values():
        for wide, narrow in ((rule, other), (other, rule)):
            if contains(wide, narrow):
                yield {f"{wide.slug} contains {narrow.slug}": edge(wide, narrow)}


@wider_rules_contain_the_narrower_ones.refute
def erase_gate_left_open() -> Any:
    """Gated DeltaNet-2 that writes everything is taken for GLA, with its erase gate as it was."""
    words = Nested()
    return (words.step(words.A, words.B, words.I_V) - words.step(words.A, 0, 1)).normal()


@wider_rules_contain_the_narrower_ones.refute
def decay_left_as_it_was() -> Any:
    """Gated DeltaNet is taken for DeltaNet, with its decay."""
    words = Nested()
    return (words.step(words.alpha, words.beta, words.beta) - words.step(1, words.beta, words.beta)).normal()


@wider_rules_contain_the_narrower_ones.refute
def gates_that_are_not_tied() -> Any:
    """Gated DeltaNet is taken to contain Mamba-2 by its gates alone: erase nothing, write everything."""
    return edge(GATED_DELTANET, MAMBA2)


# One and the same, under two names.


@claim(
    statement=lambda: (
        rf"\text{{{FAST_WEIGHTS.title}: }} {tex(FAST_WEIGHTS)}, \quad "
        rf"\text{{{LINEAR_ATTENTION.title.lower()}: }} {tex(LINEAR_ATTENTION)}"
    ),
    scope=Every("T, dk and dv: the two rules have the same gates, and there is one step"),
    engine="exact",
    source=Source("2102.11174", "secs. 2 and 3.1", "Linear Transformers Are Secretly Fast Weight Programmers"),
    code=(reference.step,),
)
def fast_weights_are_linear_attention() -> Any:
    """The fast weights of 1992 and linear attention are one rule."""
    return differences(FAST_WEIGHTS, LINEAR_ATTENTION)


def differences(one: WriteRule, other: WriteRule) -> dict[str, int]:
    """Count for each property that a rule computes with whether two rules differ in it."""
    names = ("decay", "erase", "write", "tied", "clock", "discretisation", "features", "normalised")
    return {name: int(getattr(one, name) is not getattr(other, name)) for name in names}


@fast_weights_are_linear_attention.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def they_run_alike() -> Any:
    """Their tokens run alike."""
    return edge(FAST_WEIGHTS, LINEAR_ATTENTION)


@fast_weights_are_linear_attention.refute
def retnet_for_linear_attention() -> Any:
    """RetNet is taken for linear attention."""
    return differences(RETNET, LINEAR_ATTENTION)


@fast_weights_are_linear_attention.refute
def deltanet_for_fast_weights() -> Any:
    """DeltaNet, the fast weights of 2021, is taken for those of 1992."""
    return differences(DELTANET, FAST_WEIGHTS)


# State space models.


def state_space(*, delta: tuple[float, ...] = (0.5, 0.5, 0.5)) -> streams.Stream:
    """Return a stream of three tokens for a memory of 2 x 3, in numbers that float64 holds exactly."""
    T, V, K = len(delta), 2, 3
    numbers = np.arange(1, T * K + 1, dtype=float).reshape(T, K) / 4
    none = np.zeros(T)
    A = -np.arange(1, V * K + 1, dtype=float).reshape(V, K) / 2
    return streams.Stream(
        q=numbers[::-1], k=numbers, v=numbers[:, :V] - 1, g=none, beta=none, w=none, delta=np.array(delta), A=A
    )


def as_mamba(stream: streams.Stream, discretisation: Discretisation) -> dict[str, Any]:
    """Take the tokens that Mamba makes of a stream off those that S4 makes of it, exactly."""
    s4, mamba = streams.tokens(S4, stream), streams.tokens(MAMBA, stream, discretisation=discretisation)
    exactly = np.frompyfunc(Fraction, 1, 1)
    k = [x.w[:, :, None] * (x.k if x.k.ndim == 3 else x.k[:, None, :]) for x in (s4, mamba)]
    return {"g": exactly(s4.g) - exactly(mamba.g), "w k": exactly(k[0]) - exactly(k[1])}


def _fixed_step() -> str:
    x = ssm.tokens(*map(entry, ("u", r"\Delta", "A", "B", "C")), method=Discretisation.ZOH, phi1=phi1)
    return rf"\Delta_t = \Delta \;\Rightarrow\; (\bar A_t, \bar B_t) = ({exp(x.g).flat[0]}, {x.k.flat[0]})"


@claim(
    statement=_fixed_step,
    assumptions=("The two are discretised alike, by zero-order hold.",),
    scope=Every("T, dk and dv: the two rules differ in their clock alone, and there is one way to make their tokens"),
    engine="exact",
    source=Source("2312.00752", "sec. 3.2 and algorithms 1 and 2", "Mamba: Linear-Time Sequence Modeling"),
    code=(streams.tokens, ssm.tokens),
    uses=("state_space_model_is_a_write_rule", "fixed_recurrence_is_a_convolution"),
)
def s4_is_mamba_with_a_fixed_step() -> Any:
    """S4 is Mamba whose step is the same at every token."""
    return {**differences(S4, MAMBA.discretised(Discretisation.ZOH)), "clock": int(S4.clock is not Clock.FIXED)}


@s4_is_mamba_with_a_fixed_step.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def mamba_with_a_fixed_step_on_symbols() -> Any:
    """Mamba's tokens at a fixed step run as S4: h = Abar h + Bbar u with one Abar and one Bbar, entry by entry."""
    return Model(3, 2, 3, fixed=True).residual(Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.step(
    engine="exact", scope=Counterexample("one stream of three tokens, of which every number is compared")
)
def the_tokens_of_both_rules() -> Any:
    """What the code makes of a stream of a fixed step is the same under both rules."""
    return as_mamba(state_space(), Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.step(engine="ring", scope=Sizes(T=3, dk=3, dv=2))
def mamba_contains_retnet() -> Any:
    """Mamba with Delta = 1 and A = log gamma in every entry is RetNet."""
    case = symbols(RETNET, 3, 2, 3)
    gamma = case.x.g[:1, 0]  # [1, 1]
    one = 0 * case.x.v[:, :1] + 1
    x = ssm.tokens(case.x.v, one, np.broadcast_to(gamma, (2, 3)), case.x.k, case.x.q, method=Discretisation.MAMBA)
    wider = replace(case, x=x)
    return wider.compare(wider.run(reference.recurrent), case.run(reference.recurrent))


@s4_is_mamba_with_a_fixed_step.refute
def step_that_changes() -> Any:
    """The step is another one at each token: S4 cannot follow it."""
    return as_mamba(state_space(delta=(0.25, 0.5, 1.0)), Discretisation.ZOH)


@s4_is_mamba_with_a_fixed_step.refute
def discretised_as_mamba_is() -> Any:
    """Mamba keeps its own discretisation, whose input is Delta B."""
    return as_mamba(state_space(), Discretisation.MAMBA)


# What is contained only in the limit.


class Limit:
    """Gated DeltaNet on the keys eps k and the values v / eps, in words: u is v / eps, so that nothing is divided."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha epsilon")
        self.alpha, self.eps = a.all_scalars()
        self.S = a.matrix("S", "V", "K")
        self.q, self.k, self.u = a.vector("q", "K"), a.vector("k", "K"), a.vector("u", "V")

    def step(self, k: Expr, v: Expr, gate: int, *, error: Expr | None = None) -> Expr:
        """Run the code's step, tied with write gate 1 or without an erase gate, and return the memory."""
        x = arrays.token(q=self.q, k=k, v=v, decay=self.alpha, erase=gate, write=1)
        memory = self.S if error is None else self.S + error
        return reference.step(arrays.Array(memory, 2), x, exp=arrays.exp)[0].word

    def error(self, before: Expr | None = None) -> Expr:
        """Return by how much Gated DeltaNet misses Mamba-2 after a token, from what it has missed before."""
        return self.step(self.eps * self.k, self.u, 1, error=before) - self.step(self.k, self.eps * self.u, 0)

    def leading(self) -> Expr:
        """Return the error as it is claimed."""
        return -(self.eps * self.eps * self.alpha) * (self.S @ self.k @ self.k.T)


def _limit() -> str:
    # The letters that the certificate is run on: M is a transition of two key channels.
    alpha, beta, k_1, *M = letters(Kind.SCALAR, r"\alpha", r"\beta", "k_1", "M_{11}", "M_{12}", "M_{22}")
    wiped, rest = certificate_sides(alpha * beta * k_1**2, *M)
    return (
        r"\operatorname{GDN}(\epsilon k, v/\epsilon, \beta = 1) - \operatorname{Mamba2}(k, v) = "
        rf"{Limit().error().normal().tex()}, \quad {wiped} = {rest}\text{{: }} "
        r"M = \alpha' I \;\Rightarrow\; \beta k = 0 \text{ for } d_k \ge 2"
    )


@claim(
    statement=_limit,
    assumptions=(
        r"Linear attention is the case $\alpha = 1$, and DeltaNet contains it in the same limit.",
        "At dk = 1 there is nothing to show: there the transition is a number, and any decay can be made.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=TABLE,
    code=(reference.step, reference.recurrent),
)
def gated_deltanet_contains_mamba2_only_in_the_limit() -> Any:
    """Gated DeltaNet on keys eps k and values v / eps misses Mamba-2 by a term in eps squared, and never by none.

    The first step is the error of one token, exactly.
    """
    words = Limit()
    return (words.error() - words.leading()).normal()


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="words", scope=EverySize("T", "dk", "dv"))
def error_of_every_stream_is_of_order_two() -> Any:
    """After a stream of any length the error is eps^2 E, with E a polynomial in eps.

    The induction step: one more token makes eps^2 (alpha E - alpha (S + eps^2 E) k k') of it. At no token E is 0.
    """
    return carried_error()


def carried_error(*, erased: bool = True) -> Any:
    """Compare the error after one more token with what is said to be made of the error before."""
    words = Limit()
    E, k = words.algebra.matrix("E", "V", "K"), words.k
    square = words.eps * words.eps
    wiped = (words.S + square * E) @ k @ k.T if erased else words.S @ k @ k.T
    return (words.error(square * E) - square * (words.alpha * E - words.alpha * wiped)).normal()


def powers_of_eps(power: int) -> dict[str, Any]:
    """Return the terms of the error after three tokens that are of another order in eps than ``power`` or more.

    Values are eps u, so that a term in eps u is one in v: its order is the exponent of eps less the number of values.
    """
    sizes: dict[str, tuple[int, ...]] = {"S": (2, 2), "q": (3, 2), "k": (3, 2), "u": (3, 2), "g": (3, 1, 1), "eps": ()}
    ring = Ring(exponentials={"a": sizes["g"]}, **sizes)
    ring.let_exp(ring["g"], "a")
    eps, none = ring["eps"][()], 0 * ring["u"][:, :1]
    gated = Token(q=ring["q"], k=ring["k"] * eps, v=ring["u"], g=ring["g"], b=none + 1, w=none + 1)
    added = Token(q=ring["q"], k=ring["k"], v=ring["u"] * eps, g=ring["g"], b=none, w=none + 1)
    ends = [reference.recurrent(ring["S"], x, exp=ring.exp) for x in (gated, added)]
    values = [ring.one.ring.gens.index(letter) for letter in ring["u"].flat]
    at = ring.one.ring.gens.index(eps)

    def lower(entry: Any) -> Any:
        kept = entry.ring.zero
        for monomial, coefficient in entry.terms():
            if monomial[at] - sum(monomial[i] for i in values) < power:
                kept[monomial] = coefficient
        return kept

    return {name: np.frompyfunc(lower, 1, 1)(ring.residual(*pair)) for name, *pair in zip("So", *ends, strict=True)}


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="ring", scope=Sizes(T=3, dk=2, dv=2))
def error_of_a_stream_is_of_order_two() -> Any:
    """After three tokens no term of the error, of memory or outputs, is of an order below eps squared."""
    return powers_of_eps(2)


def transition(rule: WriteRule) -> tuple[Case, Any, Any]:
    """Return a case of one token over two channels, its transition [K, K] and what it writes [V, K], by the code."""
    case = symbols(rule, 1, 2, 2)
    zero = 0 * case.S
    written, _ = reference.step(zero, case.x[0], exp=case.exp)
    moved, _ = reference.step(zero + np.eye(2, dtype=int), case.x[0], exp=case.exp)
    return case, moved - written, written


def certificate(rule: WriteRule, *, squared: bool = True) -> Any:
    """Write (alpha beta k_1^2)^2 as a combination of what is zero in a multiple of the identity."""
    case, M, _ = transition(rule)
    x = case.x[0]
    alpha = case.exp(x.g)[0, 0]
    left, right = certificate_sides(alpha * x.b[0] * x.k[0] ** 2, M[0, 0], M[0, 1], M[1, 1], power=2 if squared else 1)
    return left - right


def certificate_sides(wiped: Any, M_11: Any, M_12: Any, M_22: Any, *, power: int = 2) -> tuple[Any, Any]:
    """Return the two sides of the certificate, for what is wiped off the first channel and a transition."""
    return wiped**2, wiped * (M_22 - M_11) + M_12**power


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="ring", scope=Every("dk >= 2, by any two key channels"))
def never_exactly() -> Any:
    """A transition that is a multiple of the identity has erased nothing, so with tied gates nothing was written.

    The square of alpha beta k_1^2 is a combination of the differences on the diagonal and the squares off it.
    """
    return certificate(GATED_DELTANET)


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def contained_exactly() -> Any:
    """Gated DeltaNet contains Mamba-2, without an error."""
    return Limit().error().normal()


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def error_that_is_not_erased() -> Any:
    """What has been missed before is carried on, and nothing of it is erased."""
    return carried_error(erased=False)


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def error_of_order_three() -> Any:
    """The error is of a higher order."""
    return powers_of_eps(3)


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def wrong_certificate() -> Any:
    """The entry off the diagonal stands for its square."""
    return certificate(GATED_DELTANET, squared=False)


# What a narrower rule cannot do.

Invariant = Callable[[Any, Any, Any, Any], Any]  # of a transition M, what is written W, the key and the value


def _unchanged_across_the_key(M: Any, W: Any, k: Any, v: Any) -> Any:
    return [M[0, 1] * k[0] - M[0, 0] * k[1] + k[1], M[1, 1] * k[0] - M[1, 0] * k[1] - k[0]]


def _scaled_across_the_key(M: Any, W: Any, k: Any, v: Any) -> Any:
    return (M[0, 1] * k[0] - M[0, 0] * k[1]) * k[0] + (M[1, 1] * k[0] - M[1, 0] * k[1]) * k[1]


def _erased_as_much_as_written(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 1] * (v[0] - k[0] * W[0, 0]) + k[1] * W[0, 0] * M[0, 0]


def _nothing_off_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return [M[0, 1], M[1, 0]]


def _alike_on_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 0] - M[1, 1]


def _one_on_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 0] - 1


NON_EDGES: tuple[tuple[WriteRule, WriteRule, Invariant], ...] = (
    (DELTANET, GATED_DELTANET, _unchanged_across_the_key),
    (GATED_DELTANET, KIMI_DELTA_ATTENTION, _scaled_across_the_key),
    (KIMI_DELTA_ATTENTION, GATED_DELTANET_2, _erased_as_much_as_written),
    (GLA, GATED_DELTANET_2, _nothing_off_the_diagonal),
    (MAMBA2, GLA, _alike_on_the_diagonal),
    (LINEAR_ATTENTION, MAMBA2, _one_on_the_diagonal),
    (LINEAR_ATTENTION, RETNET, _one_on_the_diagonal),
    (LINEAR_ATTENTION, DELTANET, _nothing_off_the_diagonal),
)


def alike_at_every_token(M: Any, N: Any) -> Any:
    """Return by how much two tokens decay differently."""
    return M[0, 0] - N[0, 0]


def kept(rule: WriteRule, keeps: Invariant) -> Any:
    """Return what an invariant is for a token of a rule, by the code."""
    case, M, W = transition(rule)
    return keeps(M, W, case.x.k[0], case.x.v[0])


def _kept() -> str:
    M, W = (np.array([[Written(f"{name}_{{{i}{j}}}") for j in (1, 2)] for i in (1, 2)], dtype=object) for name in "MW")
    k, v = ([Written(f"{name}_{i}") for i in (1, 2)] for name in "kv")
    lines = []
    for narrow, wide, keeps in NON_EDGES:
        zeros = ", \\; ".join(f"{x} = 0" for x in np.ravel(keeps(M, W, k, v)))
        lines.append(rf"\text{{{narrow.title},}} \quad \text{{unlike {wide.title}}} &: \quad {zeros}")
    N = np.array([[Written("N_{11}")]], dtype=object)
    lines.append(rf"\text{{RetNet,}} \quad \text{{unlike Mamba-2}} &: \quad {alike_at_every_token(M, N)} = 0")
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


@claim(
    statement=_kept,
    assumptions=(
        r"$S_t = S_{t-1} M + W$ with one token of two key channels, and $N$ for the next token. On the same keys and "
        "values a wider rule breaks "
        "what the narrower one keeps: the mutants show by how much.",
    ),
    scope=Sizes(dk=2, dv=2),
    engine="ring",
    source=GDN_2,
    code=(reference.step,),
)
def narrower_rules_keep_what_wider_ones_break() -> Any:
    """A narrower rule keeps, at all its gates, a relation that the next wider one breaks: so it does not contain it."""
    return {f"{narrow.slug}: {keeps.__name__}": kept(narrow, keeps) for narrow, _, keeps in NON_EDGES}


@narrower_rules_keep_what_wider_ones_break.step(engine="ring", scope=Sizes(T=2, dk=2, dv=2))
def retnet_decays_alike_at_every_token() -> Any:
    """RetNet, whose decay is constant, decays by the same at two tokens."""
    return alike_at_every_token(*two_transitions(RETNET))


def two_transitions(rule: WriteRule) -> list[Any]:
    """Return the transitions of two tokens over two channels, by the code."""
    case = symbols(rule, 2, 2, 2)
    zero = 0 * case.S
    return [
        reference.step(zero + np.eye(2, dtype=int), case.x[t], exp=case.exp)[0]
        - reference.step(zero, case.x[t], exp=case.exp)[0]
        for t in (0, 1)
    ]


@narrower_rules_keep_what_wider_ones_break.refute
def retnet_decays_by_token_too() -> Any:
    """RetNet contains Mamba-2."""
    return alike_at_every_token(*two_transitions(MAMBA2))


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_decays_at_a_constant_rate_too() -> Any:
    """Linear attention contains RetNet."""
    return _broken_by(LINEAR_ATTENTION, RETNET)


def _broken_by(narrow: WriteRule, wide: WriteRule) -> Any:
    return next(kept(wide, keeps) for one, other, keeps in NON_EDGES if (one, other) == (narrow, wide))


@narrower_rules_keep_what_wider_ones_break.refute
def deltanet_decays_too() -> Any:
    """DeltaNet contains Gated DeltaNet."""
    return _broken_by(DELTANET, GATED_DELTANET)


@narrower_rules_keep_what_wider_ones_break.refute
def gated_deltanet_decays_by_channel_too() -> Any:
    """Gated DeltaNet contains KDA."""
    return _broken_by(GATED_DELTANET, KIMI_DELTA_ATTENTION)


@narrower_rules_keep_what_wider_ones_break.refute
def kda_erases_apart_from_writing_too() -> Any:
    """KDA contains Gated DeltaNet-2."""
    return _broken_by(KIMI_DELTA_ATTENTION, GATED_DELTANET_2)


@narrower_rules_keep_what_wider_ones_break.refute
def gla_erases_too() -> Any:
    """GLA contains Gated DeltaNet-2."""
    return _broken_by(GLA, GATED_DELTANET_2)


@narrower_rules_keep_what_wider_ones_break.refute
def mamba_2_decays_by_channel_too() -> Any:
    """Mamba-2 contains GLA."""
    return _broken_by(MAMBA2, GLA)


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_decays_too() -> Any:
    """Linear attention contains Mamba-2."""
    return _broken_by(LINEAR_ATTENTION, MAMBA2)


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_erases_too() -> Any:
    """Linear attention contains DeltaNet."""
    return _broken_by(LINEAR_ATTENTION, DELTANET)
