"""No exponential of a positive number: every decay of the chunk form and of its gradients is at most 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from derivations.engines import exponents
from derivations.engines.cases import Shapes, every_width, shapes
from derivations.engines.written import Kind, Written, letters
from derivations.models.stream_sizes import EVERY_CHUNK
from derivations.mutants.by_hand import planted
from derivations.papers import ours
from derivations.registry import claim
from derivations.scope import Every
from gdn_core import reference, reference_backward
from gdn_core.rules import GATED_DELTANET, KIMI_DELTA_ATTENTION

LENGTHS = range(1, 6)
LONG = tuple(C for C in EVERY_CHUNK if LENGTHS[-1] < C <= 100)
RULES = (GATED_DELTANET, KIMI_DELTA_ATTENTION)
DK, DV = 2, 3


def _values(numbers: Sequence[int]) -> str:
    """Print numbers, those that follow each other as a range."""
    runs: list[list[int]] = []
    for n in numbers:
        if runs and runs[-1][1] == n - 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs)


def formed(sizes: Shapes, code: Callable[..., Any]) -> exponents.Exponents:
    """Return the exponents that a function of the reference forms on a stream of these shapes."""
    S, x, seen = exponents.stream(sizes)
    code(S, x, exp=seen.exp, stack=exponents.stack)
    return seen


def chunks(S: Any, x: Any, *, exp: Any, stack: Any) -> Any:
    """Run the stream in chunks of three tokens."""
    return reference.chunkwise(S, x, chunk_size=3, exp=exp, stack=stack)


def backward(S: Any, x: Any, *, exp: Any, stack: Any, code: Callable[..., Any] | None = None) -> Any:
    """Run the gradients of the chunk."""
    return (code or reference_backward.chunk_backward)(S, x, x.v, S, exp=exp, stack=stack)


def positive(codes: dict[str, Callable[..., Any]], every: Iterator[Shapes]) -> Iterator[dict[str, list[str]]]:
    """Yield for each of these shapes the exponents that can be positive, by function."""
    return ({name: formed(sizes, code).positive() for name, code in codes.items()} for sizes in every)


CODES: dict[str, Callable[..., Any]] = {
    "recurrent": reference.recurrent,
    "chunk": reference.chunk,
    "chunks": chunks,
    "backward": backward,
}


def _statement() -> str:
    g = list(letters(Kind.SCALAR, "g_1", "g_2", "g_3"))
    sizes = shapes(GATED_DELTANET, 3, 1, 1)
    found = sorted(formed(sizes, reference.chunk).seen | formed(sizes, backward).seen, reverse=True)

    def printed(sums: tuple[int, ...]) -> Written:
        return sum((n * letter for n, letter in zip(sums, g, strict=True) if n), start=0 * g[0])

    return (
        r"\text{every exponential is } \exp(G_i - G_j) = \exp(g_{j+1} + \dots + g_i) \le 1, \; j \le i, \quad "
        rf"\text{{at }} C = 3 \text{{ of }} {', '.join(str(printed(sums)) for sums in found)}"
    )


@claim(
    statement=_statement,
    assumptions=(r"$g \le 0$: no decay lets the memory grow. The sums are exact.",),
    scope=Every(f"C of {_values(LENGTHS)}, at every width of each gate, with dk = {DK} and dv = {DV}"),
    engine="exponents",
    source=ours("differences of log decays are formed before the exponential"),
    code=(reference.chunk, reference_backward.chunk_backward),
)
def no_exponential_of_a_positive_number() -> Any:
    """Neither the chunk form nor its gradients take the exponential of a positive number, so no decay overflows.

    Every exponent is a sum of log decays without a minus sign.
    """
    return (found for C in LENGTHS for found in positive(CODES, every_width(C, DV, DK)))


@no_exponential_of_a_positive_number.step(
    engine="exponents",
    scope=Every(f"C of {_values(LONG)}, for {' and '.join(rule.title for rule in RULES)}, with dk = dv = {DK}"),
)
def in_long_chunks() -> Any:
    """The same in chunks of the length that kernels have, for a scalar decay and a decay by channel."""
    every = (shapes(rule, C, DK, DK) for rule in RULES for C in LONG)
    return positive({"chunk": reference.chunk, "backward": backward}, every)


def misprinted(code: Callable[..., Any]) -> Any:
    """Return the exponents of a wrong variant that can be positive."""
    return positive({"wrong": code}, (shapes(GATED_DELTANET, C, 2, 3) for C in (2, 3)))


@no_exponential_of_a_positive_number.refute
def decays_divided_by_decays() -> Any:
    """The decay to the end is a quotient of two decays from the start, exp(G_C) exp(-G_j): equal, and it overflows."""
    return misprinted(planted(reference.chunk, "exp(G[C - 1] - G)", "(exp(G[C - 1]) * exp(-G))"))


@no_exponential_of_a_positive_number.refute
def difference_the_other_way_round() -> Any:
    """A row of the triangular system has the decays from the later token to the earlier."""
    return misprinted(planted(reference.chunk, "exp(G[i] - G[:i])", "exp(G[:i] - G[i])"))


@no_exponential_of_a_positive_number.refute
def gradients_through_the_inverse_decay() -> Any:
    """The gradient of an error decays from the later token to the earlier."""
    wrong = planted(reference_backward.chunk_backward, "du[j] - exp(G[j + 1:] - G[j])", "du[j] - exp(G[j] - G[j + 1:])")
    return misprinted(lambda S, x, *, exp, stack: backward(S, x, exp=exp, stack=stack, code=wrong))


@no_exponential_of_a_positive_number.refute
def masked_behind_the_exponential() -> Any:
    """The outputs take the exponential of every difference, and mask the later tokens afterwards."""
    return misprinted(planted(reference.chunk, "exp(G[i] - G[:i + 1])", "exp(G[i] - G)[:i + 1]"))
