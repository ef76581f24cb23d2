"""State space models as tokens of the matrix memory, as convolutions where they are fixed, and as scans in any case."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache, reduce
from typing import Any

import numpy as np

from derivations.claim import Counterexample, EverySize, Sizes, claim
from derivations.engines import arrays, printed
from derivations.engines.ring import Ring
from derivations.engines.trees import Block, Expr
from derivations.engines.words import Algebra, equation
from derivations.mutants import planted
from gdn_core import reference, ssm
from gdn_core.equation import tex, tex_output
from gdn_core.reference import Array, Token
from gdn_core.rules import MAMBA as MAMBA_RULE
from gdn_core.rules import Discretisation, Source

MAMBA = Source("2312.00752", "eq. 2a and Algorithm 2, sec. 3.2", "Mamba: Linear-Time Sequence Modeling")
S4 = Source("2111.00396", "eqs. 4 and 5", "Efficiently Modeling Long Sequences with Structured State Spaces")


class Model:
    """The letters of a diagonal state space model, and of what discretisation makes of them.

    The exponential and phi_1 of each Delta A are letters too, so nothing is assumed of them.

    Args:
        T, V, K: tokens, channels and states.
        shared: Delta is one number a token, and A one a state, for all channels.
        fixed: Delta, B and C are the same at every token.
    """

    def __init__(self, T: int, V: int, K: int, *, shared: bool = False, fixed: bool = False) -> None:
        steps, rates = (1 if fixed else T, 1 if shared else V), (1 if shared else V, K)
        maps = (1 if fixed else T, K)
        logs = (*steps[:1], rates[0], K)
        ring = Ring(exponentials={"e": logs}, u=(T, V), d=steps, A=rates, B=maps, C=maps, S=(V, K), phi=logs, never=())
        self.ring, self.S, self.u, self.A = ring, ring["S"], ring["u"], ring["A"]
        self.delta, self.B, self.C = (np.concatenate([ring[name]] * (T if fixed else 1)) for name in "dBC")
        products = ring["d"][:, :, None] * ring["A"][None]
        ring.let_exp(products, "e")
        self.decay = np.broadcast_to(ring["e"], (T, V, K))
        self.phi = np.broadcast_to(ring["phi"], (T, V, K))
        self._phi = {
            next(iter(log.itermonoms())): letter for log, letter in zip(products.flat, ring["phi"].flat, strict=True)
        }

    def phi1(self, x: Array) -> Array:
        """Return the letters that stand for phi_1 of each Delta A."""
        return np.frompyfunc(lambda entry: self._phi[next(iter(entry.itermonoms()))], 1, 1)(x)

    def tokens(self, method: Discretisation, make: Callable[..., Token] = ssm.tokens) -> Token:
        """Write the model as tokens, by the code."""
        return make(self.u, self.delta, self.A, self.B, self.C, method=method, phi1=self.phi1)

    def run(self, x: Token, S: Array | None = None) -> tuple[Array, Array]:
        """Run tokens through the code's recurrence."""
        return reference.recurrent(self.S if S is None else S, x, exp=self.ring.exp)

    def factor(self, method: Discretisation) -> Array:
        """Return Bbar / B by definition, [T, V, K]."""
        delta = np.broadcast_to(self.delta[:, :, None], self.phi.shape)
        return delta * self.phi if method is Discretisation.ZOH else delta

    def residual(self, method: Discretisation, make: Callable[..., Token] = ssm.tokens) -> list[Any]:
        """Compare the code's recurrence with h = Abar h + Bbar u and y = C h, entry by entry."""
        states, outputs = self.S, []
        for t in range(len(self.u)):
            read_in = self.factor(method)[t] * self.B[t]  # [V, K]
            states = self.decay[t] * states + read_in * self.u[t][:, None]
            outputs.append(states @ self.C[t])
        S, o = self.run(self.tokens(method, make))
        return [self.ring.residual(S, states), self.ring.residual(o, np.stack(outputs))]


def _write_rule() -> str:
    zoh, mamba = (
        ssm.tokens(*map(printed.entry, ("u", r"\Delta", "A", "B", "C")), method=method, phi1=printed.phi1)
        for method in (Discretisation.ZOH, Discretisation.MAMBA)
    )
    shared = ", \\; ".join(f"{name} = {getattr(mamba, name).flat[0]}" for name in "gqv")
    keys = r" \text{ or } ".join(f"({x.k.flat[0]}, {x.w.flat[0]})" for x in (zoh, mamba))
    return (
        r"h_t = \bar A_t \odot h_{t-1} + \bar B_t \odot u_t, \; y_t = h_t C_t \quad\text{is}\quad "
        rf"{tex(MAMBA_RULE)}, \; {tex_output(MAMBA_RULE)} \quad\text{{with}}\quad {shared}, \; (k, w) = {keys}"
    )


@claim(
    statement=_write_rule,
    assumptions=(
        "$A$ is diagonal and real: one number a state, or one a channel and state.",
        r"$\bar B = \Delta \varphi_1(\Delta A) B$ (zero-order hold) gives each channel a key of its own; "
        r"$\bar B = \Delta B$ (Mamba's code) gives all of them the key $B$ and a write gate.",
    ),
    scope=Sizes(T=3, V=2, K=3),
    engine="ring",
    source=MAMBA,
    code=(ssm.tokens, reference.recurrent, reference.step),
    uses=("zoh_solves_the_held_equation",),
)
def state_space_model_is_a_write_rule() -> Any:
    """A diagonal state space model is a matrix memory: its rows are states, B is the key, C the query, Delta a gate."""
    return [Model(3, 2, 3).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.step(engine="ring", scope=Sizes(T=2, V=2, K=3))
def with_delta_and_a_shared_by_the_channels() -> Any:
    """The same where Delta and A are given once for all channels."""
    return [Model(2, 2, 3, shared=True).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.step(engine="ring", scope=Sizes(T=1, V=2, K=1))
def with_one_token_and_one_state() -> Any:
    """The same for a single token and a single state, where an axis is easily taken for another."""
    return [Model(1, 2, 1, shared=True).residual(method) for method in Discretisation]


@state_space_model_is_a_write_rule.refute
def step_missing_in_the_key() -> Any:
    """The key is phi_1(Delta A) B."""
    wrong = planted(ssm.tokens, "delta[:, :, None] * phi1(g)", "phi1(g)")
    return Model(2, 2, 2).residual(Discretisation.ZOH, wrong)


@state_space_model_is_a_write_rule.refute
def input_map_for_output_map() -> Any:
    """B is read with, and C written with."""
    wrong = planted(ssm.tokens, "Token(q=C, k=B, v=u", "Token(q=B, k=C, v=u")
    return Model(2, 2, 2).residual(Discretisation.MAMBA, wrong)


@state_space_model_is_a_write_rule.refute
def something_erased() -> Any:
    """The erase gate is one: what the key answers is erased, as a state space model never does."""
    wrong = planted(ssm.tokens, "v=u, g=g, b=none, w=delta", "v=u, g=g, b=none + 1, w=delta")
    return Model(2, 2, 2).residual(Discretisation.MAMBA, wrong)


# 5. A convolution where everything is fixed.


class Reach:
    """The states that t inputs reach: R has a column for each input, Abar^j Bbar for the one j tokens ago."""

    def __init__(self) -> None:
        words = self.algebra = Algebra()
        self.A, self.B = words.matrix("A", "N", "N", tex=r"\bar A"), words.vector("B", "N", tex=r"\bar B")
        self.C = words.vector("C", "N")
        self.R, self.U, self.u = words.matrix("R", "N", "t"), words.vector("U", "t"), words.vector("u", "1")

    @property
    def longer(self) -> Expr:
        """The columns with one more input: each is a token older, and the newest is Bbar."""
        return Block([[self.A @ self.R, self.B]])

    def following(self, state: Expr, u: Expr) -> Expr:
        """Return the state after an input."""
        return self.A @ state + self.B @ u

    def residual(self, longer: Expr) -> Any:
        """Compare one more token of the recurrence with the longer convolution, state and output."""
        inputs = Block([[self.U], [self.u]])
        state = self.following(self.R @ self.U, self.u)
        return [(state - longer @ inputs).normal(), (self.C.T @ state - self.C.T @ longer @ inputs).normal()]


def _convolution() -> str:
    words = Reach()
    R = words.algebra.matrix("R_{t+1}", "N", "t", tex="R_{t+1}")
    first, *later = (words.algebra.vector(f"u_{t}", "1", tex=f"u_{t}") for t in (1, 2, 3))
    state = reduce(words.following, later, words.B @ first)
    return (
        rf"y_3 = {(words.C.T @ state).tex()}, \quad \ldots, \quad "
        rf"{R.tex()} = {words.longer.tex()} \;\Rightarrow\; y_t = C^\top R_t\, u_{{1..t}} = "
        r"\sum_{j=0}^{t-1} (C^\top \bar A^j \bar B)\, u_{t-j}"
    )


@claim(
    statement=_convolution,
    assumptions=(r"$A$, $B$, $C$ and $\Delta$ are the same at every token, and $h_0 = 0$.",),
    scope=EverySize("length", "N"),
    engine="words",
    source=S4,
    code=(ssm.tokens, reference.recurrent),
    uses=("state_space_model_is_a_write_rule",),
)
def fixed_recurrence_is_a_convolution() -> Any:
    """With everything fixed the outputs are a convolution of the inputs with the kernel C Abar^j Bbar.

    The induction step, for any A: one more token makes every column of R a token older. At no token R is empty.
    """
    words = Reach()
    return words.residual(words.longer)


def convolution_residual(model: Model, x: Token, T: int) -> Any:
    """Compare the code's outputs from an empty memory with the convolution."""
    _, o = model.run(x, 0 * model.S)
    kernel = [((model.decay[0] ** j) * model.factor(Discretisation.ZOH)[0] * model.B[0]) @ model.C[0] for j in range(T)]
    wanted = [sum(kernel[j] * model.u[t - j] for j in range(t + 1)) for t in range(T)]
    return model.ring.residual(o, np.stack(wanted))


@fixed_recurrence_is_a_convolution.step(engine="ring", scope=Sizes(T=5, V=2, K=2))
def the_code() -> Any:
    """The code's recurrence on fixed tokens is the convolution."""
    model = Model(5, 2, 2, fixed=True)
    return convolution_residual(model, model.tokens(Discretisation.ZOH), 5)


@fixed_recurrence_is_a_convolution.refute
def newest_input_decayed_too() -> Any:
    """The kernel is said to start at C Abar Bbar."""
    words = Reach()
    return words.residual(Block([[words.A @ words.R, words.A @ words.B]]))


@fixed_recurrence_is_a_convolution.refute
def memory_not_empty() -> Any:
    """The memory is not empty before the first token: its part of the answer is no convolution of the inputs."""
    model = Model(2, 2, 2, fixed=True)
    _, o = model.run(model.tokens(Discretisation.ZOH))
    _, from_zero = model.run(model.tokens(Discretisation.ZOH), 0 * model.S)
    return model.ring.residual(o, from_zero)


def lag_one(deltas: tuple[int, int, int]) -> tuple[Fraction, Fraction]:
    """Return the answers one token after an impulse at token 0 and at token 1, in base 2, with A = -1, B = C = 1."""
    one = np.array([[Fraction(1)]], dtype=object)
    answers = []
    for at in (0, 1):
        u = np.array([[Fraction(t == at)] for t in range(3)], dtype=object)
        delta = np.array([[Fraction(step)] for step in deltas], dtype=object)
        maps = np.concatenate([one] * 3)
        x = ssm.tokens(u, delta, -one, maps, maps, method=Discretisation.MAMBA)
        _, o = reference.recurrent(0 * one, x, exp=np.frompyfunc(lambda log: Fraction(2) ** log, 1, 1))
        answers.append(o[at + 1, 0])
    return answers[0], answers[1]


def _lags() -> str:
    steps = (1, 1, 2)
    first, second = map(printed.number, lag_one(steps))
    return (
        rf"\Delta = {steps}, \; A = -1: \quad \frac{{\partial y_1}}{{\partial u_0}} = {first} \ne {second} = "
        r"\frac{\partial y_2}{\partial u_1}"
    )


@claim(
    statement=_lags,
    assumptions=("Decays are powers of 2, so the numbers are exact; tokens are counted from 0.",),
    scope=Counterexample("three tokens, one state, Delta = 1, 1, 2"),
    engine="exact",
    source=MAMBA,
    code=(ssm.tokens, reference.recurrent),
)
def selective_recurrence_is_no_convolution() -> Any:
    """With a step that depends on the token, no kernel serves: the answer to an impulse depends on when it comes."""
    first, second = lag_one((1, 1, 2))
    return [first - Fraction(1, 2), second - Fraction(1, 4)]


@selective_recurrence_is_no_convolution.step(engine="exact", scope=Counterexample("three tokens, Delta = 2, 2, 2"))
def a_fixed_step_is_one() -> Any:
    """With the same step at every token both answers agree."""
    first, second = lag_one((2, 2, 2))
    return first - second


@selective_recurrence_is_no_convolution.refute
def same_answer_at_every_time() -> Any:
    """The answer is said not to depend on when the impulse comes."""
    first, second = lag_one((1, 1, 2))
    return first - second


@selective_recurrence_is_no_convolution.refute
def same_answer_where_only_the_first_steps_agree() -> Any:
    """It is said to be enough that the impulses are written with the same weight."""
    first, second = lag_one((2, 2, 1))
    return first - second


# 6. Scans.


@cache
def maps() -> list[tuple[Expr, Expr]]:
    """Declare three affine maps S -> S M + X, and the memory as a map of its own, to start from."""
    words = Algebra()
    return [(words.matrix(f"M{i}", "K", "K"), words.matrix(f"X{i}", "V", "K")) for i in (1, 2, 3)] + [
        (words.identity("K"), words.matrix("S", "V", "K", tex="S_0"))
    ]


Affine = tuple[Expr, Expr]


def then(first: Affine, second: Affine) -> Affine:
    """Compose S -> S M + X with the map that follows it."""
    return first[0] @ second[0], first[1] @ second[0] + second[1]


def apply(S: Expr, by: Affine) -> Expr:
    """Apply an affine map."""
    return S @ by[0] + by[1]


def composition() -> str:
    """Print the composition of two maps."""
    M, X = then(*maps()[:2])
    return rf"(M_1, X_1) \cdot (M_2, X_2) = ({M.tex()},\; {X.tex()})"


def _composed() -> str:
    return (
        rf"{composition()}, \quad "
        r"(a \cdot b) \cdot c = a \cdot (b \cdot c), \quad S \cdot (M, X) = S M + X"
    )


def composition_residual(compose: Callable[[Affine, Affine], Affine]) -> dict[str, Any]:
    """Check that a composition does what the maps do one after the other, and that it is associative."""
    first, second, third, (_, S) = maps()
    left, right = compose(compose(first, second), third), compose(first, compose(second, third))
    both = apply(S, compose(first, second))
    return {
        "acts": (both - apply(apply(S, first), second)).normal(),
        "associates": [(x - y).normal() for x, y in zip(left, right, strict=True)],
    }


@claim(
    statement=_composed,
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source("github.com/srush/annotated-mamba", "issue 5, on the order of the scan's products"),
)
def affine_maps_compose_associatively() -> Any:
    """Tokens that act by S -> S M + X compose, and their composition is associative: so any prefix scan may be used."""
    return composition_residual(then)


@affine_maps_compose_associatively.refute
def product_in_the_other_order() -> Any:
    """The product is taken as M_2 M_1, as for maps that act from the left."""
    return composition_residual(lambda first, second: (second[0] @ first[0], first[1] @ second[0] + second[1]))


@affine_maps_compose_associatively.refute
def translations_exchanged() -> Any:
    """The second translation is moved by the first map, [M_1 M_2, X_2 M_1 + X_1], where X_1 M_2 + X_2 is meant."""
    return composition_residual(lambda first, second: (first[0] @ second[0], second[1] @ first[0] + first[1]))


class StepAsMap:
    """One token of any rule, in words: its memory by the code, and the affine map that it is said to be."""

    def __init__(self) -> None:
        words = self.algebra = Algebra()
        self.S, self.k, self.v = words.matrix("S", "V", "K"), words.vector("k", "K"), words.vector("v", "V")
        self.D, self.b = words.diagonal("D", "K", tex=r"D_\alpha"), words.diagonal("b", "K", tex="D_b")
        self.w = words.diagonal("w", "V", tex="D_w")

    @property
    def map(self) -> Affine:
        """The map of the token."""
        return self.D @ (self.algebra.identity("K") - self.b @ self.k @ self.k.T), self.w @ self.v @ self.k.T

    def residual(self, affine: Affine) -> Any:
        """Compare a map with the code's step."""
        x = arrays.token(q=self.k, k=self.k, v=self.v, decay=self.D, erase=self.b, write=self.w)
        S, _ = reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)
        return (S.word - apply(self.S, affine)).normal()


def _step_as_map() -> str:
    token = StepAsMap()
    M, X = token.map
    made = token.algebra.matrix("S_t", "V", "K", tex="S_t")
    return rf"{equation(made, token.S @ M + X)}, \quad M_t = {M.tex()}, \; X_t = {X.tex()}"


@claim(
    statement=_step_as_map,
    assumptions=("A decay or key of its own for each row makes each row such a map, with dv = 1.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source("2412.06464", "eq. 10", "Gated Delta Networks: Improving Mamba2 with Delta Rule"),
    code=(reference.step,),
)
def every_token_is_an_affine_map() -> Any:
    """Whatever its gates, a token acts on the memory by S -> S M + X, with M and X of the token alone."""
    token = StepAsMap()
    return token.residual(token.map)


@every_token_is_an_affine_map.refute
def erased_before_the_decay() -> Any:
    """M is said to be (I - b k k') D: erased first and decayed after."""
    token = StepAsMap()
    (_, X), one = token.map, token.algebra.identity("K")
    return token.residual(((one - token.b @ token.k @ token.k.T) @ token.D, X))


@every_token_is_an_affine_map.refute
def written_before_the_decay() -> Any:
    """X is said to be decayed with the memory."""
    token = StepAsMap()
    M, X = token.map
    return token.residual((M, X @ token.D))


@claim(
    statement=lambda: (
        rf"S_T = {apply(maps()[3][1], then(*maps()[:2])).tex()}, \quad \text{{tokens }} 1..n "
        r"\text{ making } (M_1, X_1), \; n + 1..T \text{ making } (M_2, X_2)"
    ),
    scope=EverySize("T", "n", "dk", "dv"),
    engine="words",
    source=Source("github.com/srush/annotated-mamba", "issue 5, on the order of the scan's products"),
    code=(reference.recurrent,),
    uses=("affine_maps_compose_associatively", "every_token_is_an_affine_map"),
)
def two_segments_merge_exactly() -> Any:
    """Two segments of a stream, run apart from each other, merge exactly: what sequence parallelism needs.

    The induction step: if tokens n + 1 to T are the map (M_b, X_b), then with one more token they are its composition,
    and from the memory that the first segment leaves they make the memory of the whole stream.
    """
    first, second, more, (_, S) = maps()
    whole = apply(apply(apply(S, first), second), more)
    return (whole - apply(S, then(first, then(second, more)))).normal()


class Segments:
    """A stream on symbols, its two halves run by the code from zero and from the identity."""

    def __init__(self, T: int = 4, V: int = 3, K: int = 2) -> None:
        ring = self.ring = Ring(
            exponentials={"a": (T, 1, K)}, g=(T, 1, K), S=(V, K), q=(T, K), k=(T, K), v=(T, V), b=(T, K), w=(T, V)
        )
        ring.let_exp(ring["g"], "a")
        self.x = Token(**{name: ring[name] for name in ("q", "k", "v", "g", "b", "w")})

    def run(self, S: Array, x: Token) -> Array:
        """Run a segment and return its memory."""
        return reference.recurrent(S, x, exp=self.ring.exp)[0]

    def map_of(self, x: Token) -> tuple[Array, Array]:
        """Find the affine map of a segment by running it from the identity without values, and from zero."""
        K = x.k.shape[1]
        nothing = Token(q=x.q, k=x.k, v=0 * x.v[:, :1].repeat(K, axis=1), g=x.g, b=x.b, w=x.w[:, :1])
        return self.run(np.eye(K, dtype=int) + 0 * self.ring["S"][:1], nothing), self.run(0 * self.ring["S"], x)

    def residual(self, compose: Callable[[Any, Any], Any]) -> Any:
        """Compare the merged segments with the whole stream."""
        first, second = self.map_of(self.x[:2]), self.map_of(self.x[2:])
        M, X = compose(first, second)
        return self.ring.residual(self.ring["S"] @ M + X, self.run(self.ring["S"], self.x))


@two_segments_merge_exactly.step(engine="ring", scope=Sizes(T=4, V=3, K=2))
def the_code_in_two_segments() -> Any:
    """The code's recurrence over two segments, merged, is its recurrence over the whole."""
    return Segments().residual(lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]))


@two_segments_merge_exactly.refute
def second_segment_added_as_it_is() -> Any:
    """What the first segment wrote is carried through the second undecayed and not erased."""
    return Segments().residual(lambda a, b: (a[0] @ b[0], a[1] + b[1]))


@two_segments_merge_exactly.refute
def segments_exchanged() -> Any:
    """The segments are merged in the other order."""
    return Segments().residual(lambda a, b: (b[0] @ a[0], b[1] @ a[0] + a[1]))


def prefixes(maps_: list[Any], compose: Callable[[Any, Any], Any]) -> list[Any]:
    """Compose every prefix by doubling: after round n each entry holds the last 2^n maps up to its place."""
    found, reach = list(maps_), 1
    while reach < len(found):
        found = [compose(found[i - reach], found[i]) if i >= reach else found[i] for i in range(len(found))]
        reach *= 2
    return found


@claim(
    statement=lambda: (
        rf"S_3 = {apply(maps()[3][1], prefixes(maps()[:3], then)[2]).tex()}, \quad \ldots, \quad S_t = S \cdot "
        r"\bigl((M_1, X_1) \cdots (M_t, X_t)\bigr) \text{ for every } t, \quad \text{however they are bracketed}"
    ),
    scope=Sizes(T=4, V=3, K=2),
    engine="ring",
    source=Source("github.com/srush/annotated-mamba", "issue 5, on the order of the scan's products"),
    code=(reference.recurrent,),
    uses=("affine_maps_compose_associatively", "every_token_is_an_affine_map"),
)
def prefix_scan_is_the_recurrence() -> Any:
    """A parallel prefix scan over the tokens' maps gives the memory after every token.

    For every length this is associativity; here a scan by doubling is run beside the code, on symbols.
    """
    return scan_residual(lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]))


def scan_residual(compose: Callable[[Any, Any], Any], *, late: int = 0) -> list[Any]:
    """Compare a scan over the code's maps with the code's memories; ``late`` shifts the scan by tokens."""
    segments = Segments(T=4, V=3, K=2)
    S, x = segments.ring["S"], segments.x
    scanned = prefixes([segments.map_of(x[t : t + 1]) for t in range(4)], compose)
    return [
        segments.ring.residual(S @ scanned[t - late][0] + scanned[t - late][1], segments.run(S, x[: t + 1]))
        for t in range(late, 4)
    ]


@prefix_scan_is_the_recurrence.refute
def later_map_first() -> Any:
    """The scan composes the later map with the earlier one, as an operator with its arguments exchanged does."""
    return scan_residual(lambda a, b: (b[0] @ a[0], b[1] @ a[0] + a[1]))


@prefix_scan_is_the_recurrence.refute
def exclusive_scan() -> Any:
    """Each token gets the maps before it without its own: an exclusive scan where an inclusive one is meant."""
    return scan_residual(lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]), late=1)
