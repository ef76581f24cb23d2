"""The sizes at which the reference is checked: those that break code, for every combination of the gates' widths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle

from derivations.engines.cases import Shapes, every_width, told
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
        return f"C = {self.C}, {told(self.shapes)}"


SCALARS = 0  # the combination of scalar gates, which every_width yields first
COMBINATIONS = 24
FEW = 5  # tokens
PAIRS = ((3, 3), (2, 5), (5, 1), (1, 1))  # K and V for every combination of gates
WIDE = ((10, 12), (12, 11))  # which the combinations take in turn
KINDS = ((3, 2), (2, 3), (3, 3), (5, 1), (1, 3), (12, 10), (2, 12))  # K and V for every chunk size
SMALLEST = ((1, 1), (2, 1), (1, 2), (2, 2))  # K and V as well for chunks of few tokens
FEW_TOKENS = 9
CHANNELS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 16, 17, 33)  # of single tokens, K and V each
NARROW = ((2, 2), (3, 2), (2, 3))  # which gates by channel take in turn
#: Chunk sizes: all up to 66, those around powers of two and multiples of them, and 100.
EVERY_CHUNK = tuple(sorted({*range(1, 67), 96, 127, 128, 129, *CHUNKS}))
SQUARES = (4, 6, 7, 8, 9, 10, 12, 16, 17, 20, 24, 33, 64)  # K = V, where what is transposed has the same shape


def _wrong_first(stream: Stream) -> tuple[int, int]:
    """Sort short streams with K = V = 1 and then K = V first: wrong code that raises at other sizes is wrong there."""
    raises = stream.T > FEW or stream.K != stream.V
    return (1 << 8 if raises else stream.K), stream.T


@cache
def streams() -> tuple[Stream, ...]:
    """Return streams in chunks, of every chunk size and every combination of gates at widths of every kind.

    For every chunk size there are few tokens, a token less than a chunk, a token more, two chunks and a token less than
    three; up to C = 33 one chunk and more than five, and up to C = 8 more than ten. Every combination of gates runs in
    more than five chunks, the last one short, and with a token more than a chunk.
    """
    gates = _every_combination(FEW, 2)
    return tuple(sorted(dict.fromkeys((*_every_chunk_size(), *_many_chunks(), *gates)), key=_wrong_first))


def _every_combination(T: int, C: int) -> tuple[Stream, ...]:
    """Return streams of T tokens with every combination of gates, at small widths of every kind and at wide ones."""
    wide = cycle(WIDE)
    return tuple(Stream(T, C, K, V, gates) for gates in range(COMBINATIONS) for K, V in (*PAIRS, next(wide)))


def _every_chunk_size() -> Iterator[Stream]:
    widths, few, gates = cycle(WIDTHS), cycle(WIDTHS), cycle(range(1, COMBINATIONS))
    for C in CHUNKS:
        many = [C, 6 * C + 1] * (C <= 33) + [11 * C + 1] * (C <= 8)
        for T in dict.fromkeys((C - 1, C + 1, 2 * C, 3 * C - 1, *many)):
            if T:
                yield Stream(T, C, *next(widths))
        if 8 < C <= 33:
            yield Stream(C + 1, C, 3, 2, next(gates))
        for T in dict.fromkeys((1, C // 4, C // 2)):
            if 0 < T < C - 1:
                yield Stream(T, C, *next(few))
                yield Stream(T, C, 3, 2, next(gates))
    for C in EVERY_CHUNK:
        if C not in CHUNKS:
            yield Stream(C + 1 if C < 100 else C - 1, C, *next(widths))


def _many_chunks() -> Iterator[Stream]:
    widths = cycle(NARROW)
    yield from (Stream(20 * C + rest, C, *next(widths)) for C, rest in ((1, 0), (1, 7), (2, 1), (3, 2), (5, 3)))
    for rest in (2, 3, 4, 5, 6, 11, 13):  # tokens in the last chunk
        yield from (Stream(2 * C + rest, C, *next(widths)) for C in (8, 16, 32) if rest < C)
    for gates in range(1, COMBINATIONS):
        for T, C in ((7, 1), (13, 2), (17, 3), *((C + 1, C) for C in CHUNKS if C <= 8)):
            yield Stream(T, C, *next(widths), gates)


@cache
def chunks(every: int = 17) -> tuple[Stream, ...]:
    """Return single chunks of every size at widths of every kind, and of every combination of gates.

    Args:
        every: tokens in the longest chunk at which every combination of gates runs, and not some in turn.
    """
    chunks = (*_scalar_chunks(), *_chunks_by_channel(every), *_every_combination(3, 3), *_squares())
    return tuple(sorted(dict.fromkeys(chunks), key=_wrong_first))


def _scalar_chunks() -> Iterator[Stream]:
    widths = cycle(WIDTHS)
    for C in EVERY_CHUNK:
        pairs = KINDS if C in CHUNKS and C < 20 else tuple(next(widths) for _ in range(1 + (C in CHUNKS)))
        if C < FEW_TOKENS:
            pairs = (*KINDS, *SMALLEST, (C, C), (C, 2), (2, C))
        yield from (Stream(C, C, K, V) for K, V in pairs)


def _chunks_by_channel(every: int) -> Iterator[Stream]:
    by_row = [gates for gates in range(1, COMBINATIONS) if _runs_by_row(gates)]
    turns = cycle(by_row), cycle([gates for gates in range(1, COMBINATIONS) if gates not in by_row])
    widths = cycle(NARROW)
    for C in EVERY_CHUNK:
        rarely = C > 40 and C not in CHUNKS and C % 5  # where a chunk takes long
        in_turn = [] if rarely else [next(turn) for turn in turns for _ in range(2 if C < 20 else 1)]
        for gates in range(1, COMBINATIONS) if C in CHUNKS and every >= C else in_turn:
            yield Stream(C, C, *next(widths), gates)
    for gates in range(1, COMBINATIONS):  # where as many tokens as channels, what is transposed has its shape
        yield from (Stream(C, C, C, C, gates) for C in (2, 5))


def _squares() -> Iterator[Stream]:
    """Yield chunks with K = V, also of as many tokens; each with scalar gates and with others in turn."""
    turns = cycle(range(1, COMBINATIONS))
    for K in SQUARES:
        for C in (3, *([K] if K <= FEW_TOKENS else [])):
            yield from (Stream(C, C, K, K, gates) for gates in (SCALARS, next(turns), next(turns)))
    for C in SQUARES[:5]:  # one axis as long as the chunk
        yield from (Stream(C, C, *pair, gates) for pair in ((C, 3), (3, C)) for gates in (SCALARS, next(turns)))
    yield from (Stream(3, 3, K, V) for K, V in ((128, 5), (5, 128), (65, 64), (64, 65)))
    yield Stream(65, 65, 64, 5)


def _runs_by_row(gates: int) -> bool:
    """Tell whether each row of the memory is run on its own: it has a decay or a key of its own."""
    shapes = Stream(1, 1, 2, 2, gates).shapes
    return len(shapes["k"]) == 3 or shapes["g"][1] > 1


@cache
def tokens() -> tuple[Stream, ...]:
    """Return single tokens of every width, and of every combination of gates at widths of every kind."""
    turns = cycle(range(1, COMBINATIONS))
    wide = (Stream(1, 1, K, V, gates) for K in CHANNELS for V in CHANNELS for gates in (SCALARS, next(turns)))
    return tuple(dict.fromkeys((*_every_combination(1, 1), *wide)))


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
