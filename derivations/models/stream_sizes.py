"""The sizes at which the reference is checked: those that break code, for every combination of the gates' widths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle

from derivations.engines.cases import Shapes, every_width
from derivations.models.torch_sizes import CHUNKS, WIDTHS
from derivations.scope import OverFields


@dataclass(frozen=True)
class Stream:
    """The sizes of a stream, and the widths of its gates.

    Args:
        T: tokens.
        C: tokens a chunk.
        K: key channels.
        V: value channels.
        gates: the number of a combination of widths in :func:`~derivations.engines.cases.every_width`.
    """

    T: int
    C: int
    K: int
    V: int
    gates: int = 0

    @property
    def shapes(self) -> Shapes:
        """The shapes of the letters."""
        return list(every_width(self.T, self.V, self.K))[self.gates]

    def __str__(self) -> str:
        widths = ", ".join(f"{name} {list(shape)}" for name, shape in self.shapes.items() if name in "kgbw")
        return f"T = {self.T}, C = {self.C}, K = {self.K}, V = {self.V}, with {widths}"


SCALARS = 0  # the combination of scalar gates, which every_width yields first
COMBINATIONS = 24
FEW = 5  # tokens
PAIRS = ((3, 3), (2, 5), (5, 1), (1, 1))  # K and V for every combination of gates
WIDE = ((10, 12), (12, 11))  # which the combinations take in turn


def _wrong_first(stream: Stream) -> tuple[int, int]:
    """Sort short streams with K = V = 1 and then K = V first: wrong code that raises at other sizes is wrong there."""
    raises = stream.T > FEW or stream.K != stream.V
    return (1 << 8 if raises else stream.K), stream.T


@cache
def streams() -> tuple[Stream, ...]:
    """Return streams of every chunk size, and every combination of gates at widths of every kind.

    For every chunk size there are fewer tokens than a chunk, one chunk, a token more, two chunks and a token less than
    three; up to C = 33 more than five chunks. Gates by channel take turns, in streams of one chunk and of a token more.
    """
    gates = _every_combination(FEW, 2)
    return tuple(sorted((*_every_chunk_size(), *gates), key=_wrong_first))


def _every_combination(T: int, C: int) -> tuple[Stream, ...]:
    """Return streams of T tokens with every combination of gates, at small widths of every kind and at wide ones."""
    wide = cycle(WIDE)
    return tuple(Stream(T, C, K, V, gates) for gates in range(COMBINATIONS) for K, V in (*PAIRS, next(wide)))


def _every_chunk_size() -> Iterator[Stream]:
    widths, gates = cycle(WIDTHS), cycle(range(1, COMBINATIONS))
    for C in CHUNKS:
        for T in dict.fromkeys((C - 1, C, C + 1, 2 * C, 3 * C - 1, 6 * C + 1 if C <= 33 else 0)):
            if T:
                yield Stream(T, C, *next(widths))
        for T in (C, C + 1) if C <= 40 else (C,):
            K, V = next(widths)
            yield Stream(T, C, K, V, next(gates)) if T <= 40 else Stream(T, C, min(K, 3), min(V, 2), next(gates))


@cache
def chunks() -> tuple[Stream, ...]:
    """Return single chunks of every size, and every combination of gates at widths of every kind."""
    widths, gates = cycle(WIDTHS), cycle(range(1, COMBINATIONS))
    short = _every_combination(3, 3)
    by_channel = (Stream(C, C, 3, 2, next(gates)) for C in CHUNKS)
    scalars = (Stream(C, C, *next(widths)) for C in CHUNKS)
    return tuple(sorted((*scalars, *by_channel, *short), key=_wrong_first))


@cache
def tokens() -> tuple[Stream, ...]:
    """Return single tokens of every combination of gates at widths of every kind."""
    return _every_combination(1, 1)


def longest(streams: Iterable[Stream]) -> Iterator[Stream]:
    """Return the longest of the streams with each combination of gates: no other has a residual of a larger degree."""
    by_gates: dict[int, Stream] = {}
    for stream in streams:
        if stream.gates not in by_gates or by_gates[stream.gates].T < stream.T:
            by_gates[stream.gates] = stream
    return iter(by_gates.values())


def scope(streams: Iterable[Stream], *names: str) -> OverFields:
    """Return the scope of a step that runs these streams.

    Args:
        streams: the streams.
        names: of their sizes.
    """
    streams = tuple(streams)
    named = {name: tuple(sorted({getattr(stream, name) for stream in streams})) for name in names}
    return OverFields(cases=len(streams), sizes=tuple(named.items()))
