"""Tokens are affine maps of the memory, so segments merge, and a prefix scan gives every memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.trees import Expr
from derivations.models.affine_maps import Affine, Segments, apply, composition, composition_residual, maps, then
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.rules import Source


def _composed() -> str:
    return (
        rf"{composition()}, \quad "
        r"(a \cdot b) \cdot c = a \cdot (b \cdot c), \quad S \cdot (M, X) = S M + X"
    )


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
    """One token in words: its memory by the code, and its affine map.

    Args:
        scalars: each gate is one number for the memory; otherwise decay and erase gate are by key channel, and the
            write gate is by value channel.
    """

    def __init__(self, *, scalars: bool = False) -> None:
        words = self.algebra = Algebra("alpha beta omega")
        self.S, self.k, self.v = words.matrix("S", "V", "K"), words.vector("k", "K"), words.vector("v", "V")
        K, V = words.identity("K"), words.identity("V")
        alpha, beta, omega = words.all_scalars()
        self.D: Expr = words.diagonal("D", "K", tex=r"D_\alpha")
        self.b: Expr = words.diagonal("b", "K", tex="D_b")
        self.w: Expr = words.diagonal("w", "V", tex="D_w")
        if scalars:
            self.D, self.b, self.w = alpha * K, beta * K, omega * V

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
    source=cite("2412.06464", "eq. 10"),
    code=(reference.step,),
)
def every_token_is_an_affine_map() -> Any:
    """Under gates for the memory or for each channel a token acts by S -> S M + X, with M and X of the token alone."""
    return [token.residual(token.map) for token in (StepAsMap(), StepAsMap(scalars=True))]


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
    """Two segments of a stream that are run independently merge exactly, as sequence parallelism needs.

    The induction step: if tokens n + 1 to T are the map (M_b, X_b), then with one more token they are its composition,
    and from the memory that the first segment leaves they make the memory of the whole stream.
    """
    first, second, more, (_, S) = maps()
    whole = apply(apply(apply(S, first), second), more)
    return (whole - apply(S, then(first, then(second, more)))).normal()


@two_segments_merge_exactly.step(engine="ring", scope=Sizes(T=4, V=3, K=2))
def the_code_in_two_segments() -> Any:
    """The code's recurrence over two segments, merged, is its recurrence over the whole."""
    return Segments().residual(lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]))


@two_segments_merge_exactly.refute
def second_segment_added_as_it_is() -> Any:
    """What the first segment wrote is neither decayed nor erased by the second."""
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


@prefix_scan_is_the_recurrence.step(engine="words", scope=EverySize("T", "dk", "dv"))
def one_more_token_behind_a_prefix() -> Any:
    """The map of a prefix composed with that of one more token acts as one after the other, however it was bracketed.

    The induction step, for any number of tokens: composition is associative, and the map of no token is (I, 0).
    """
    prefix, _, more, (_, S) = maps()
    return [(apply(S, then(prefix, more)) - apply(apply(S, prefix), more)).normal(), composition_residual(then)]


def bracketed(maps_: list[Any], compose: Callable[[Any, Any], Any]) -> list[Any]:
    """Compose maps in every way to set brackets."""
    if len(maps_) == 1:
        return maps_
    splits = [(maps_[:n], maps_[n:]) for n in range(1, len(maps_))]
    return [
        compose(a, b) for left, right in splits for a in bracketed(left, compose) for b in bracketed(right, compose)
    ]


@prefix_scan_is_the_recurrence.step(engine="ring", scope=Sizes(T=4, V=3, K=2))
def every_bracketing() -> Any:
    """All five ways to bracket the maps of four tokens give the code's memory after them."""
    segments = Segments(T=4, V=3, K=2)
    S, x = segments.ring["S"], segments.x
    tokens = [segments.map_of(x[t : t + 1]) for t in range(4)]
    found = bracketed(tokens, lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]))
    after = segments.run(S, x)
    return {f"bracketing {n}": segments.ring.residual(S @ M + X, after) for n, (M, X) in enumerate(found)}


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
    """The scan composes the maps in the other order, as an operator with exchanged arguments does."""
    return scan_residual(lambda a, b: (b[0] @ a[0], b[1] @ a[0] + a[1]))


@prefix_scan_is_the_recurrence.refute
def exclusive_scan() -> Any:
    """Each token gets the maps before it without its own: an exclusive scan where an inclusive one is meant."""
    return scan_residual(lambda a, b: (a[0] @ b[0], a[1] @ b[0] + b[1]), late=1)
