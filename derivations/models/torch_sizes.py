"""The sizes at which the PyTorch forms are checked; this module needs no PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, cycle

from derivations.ran import Compared
from derivations.scope import OverFields
from gdn_core.rules import GATED_DELTANET, Gate, WriteRule

NAMED = ("C", "T", "K", "V")  # what a scope says of sizes
Launch = tuple[str, str]
CHUNK_SIZE = 32  # of the PyTorch forms; a test compares it with theirs


@dataclass(frozen=True)
class Size:
    """The sizes of a stream.

    Args:
        T: tokens.
        K: key channels.
        V: value channels.
        C: tokens a chunk.
        H: heads of keys.
        HV: heads of values.
        B: sequences of a batch.
        lengths: of packed sequences; empty for a batch.
        decays: whether there are log decays.
        erases: whether there is an erase and write gate.
        remembers: whether there is a memory before the first token.
        resets: whether some decays are 0.
        rule: the rule that it is a stream of: how wide its gates are.
    """

    T: int
    K: int
    V: int
    C: int = CHUNK_SIZE
    H: int = 1
    HV: int = 1
    B: int = 1
    lengths: tuple[int, ...] = ()
    decays: bool = True
    erases: bool = True
    remembers: bool = True
    resets: bool = False
    rule: WriteRule = GATED_DELTANET

    @property
    def gates(self) -> dict[str, Gate]:
        """The gates by name, without those that are absent: a tied gate is ``beta``, and others are ``b`` and ``w``."""
        gates = {"g": self.rule.decay if self.decays else Gate.NONE}
        if self.rule.tied:
            gates["beta"] = self.rule.erase if self.erases else Gate.NONE
        else:
            gates |= {"b": self.rule.erase, "w": self.rule.write}
        return {name: gate for name, gate in gates.items() if gate is not Gate.NONE}

    @property
    def N(self) -> int:
        """The number of sequences."""
        return len(self.lengths) or self.B

    @property
    def bounds(self) -> tuple[int, ...]:
        """Where each packed sequence starts, and the last one ends."""
        return tuple(accumulate(self.lengths, initial=0))

    def __str__(self) -> str:
        return f"C = {self.C}, {self.stream}"

    def compared(self, *, prime: int, launch: Launch = ("", ""), some: int = 0) -> Compared:
        """Return that a program was compared at this size.

        Args:
            prime: of the point; 0 where entries are symbols.
            launch: what the program was compiled to, and how it was launched.
            some: how many tokens have symbols; 0 for all.
        """
        sizes = tuple((name, getattr(self, name)) for name in NAMED)
        rule = f"{self.rule.decay.value}, {self.rule.erase.value}, {self.rule.write.value}, {self.rule.tied}"
        return Compared(f"{launch[1]}, {self}", sizes, rule, launch[0], prime, some)

    @property
    def stream(self) -> str:
        """The sizes in words, without that of a chunk."""
        parts = [f"T = {self.T}", f"K = {self.K}", f"V = {self.V}"]
        parts += [f"H = {self.H}, HV = {self.HV}"] if self.HV > 1 else []
        parts += [f"B = {self.B}"] if self.B > 1 else []
        parts += [f"sequences of {', '.join(map(str, self.lengths))}"] if self.lengths else []
        parts += [text for has, text in ((self.decays, "no decay"), (self.erases, "nothing erased")) if not has]
        parts += ["decays of 0"] if self.resets else []
        if self.rule != GATED_DELTANET:
            parts += [f"{name} {gate.value}" for name, gate in self.gates.items()]
        return ", ".join(parts + ["no initial state"] * (not self.remembers))


# K = 1, V = 1, V = K, V < K, V > K, and wider than 9.
WIDTHS = ((3, 2), (1, 3), (2, 5), (5, 1), (3, 3), (10, 12), (1, 1), (12, 11), (2, 2), (5, 3), (2, 1))
CHUNKS = (1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100)


def _every_chunk_size() -> Iterator[Size]:
    """Yield for every chunk size: T < C, one chunk, one token more; for C <= 33 two, nearly three, and for 17 six."""
    widths = cycle(WIDTHS)
    for C in CHUNKS:
        for chunks, rest, most in ((1, -1, 100), (1, 0, 100), (1, 1, 100), (2, 0, 33), (3, -1, 33), (6, 1, 17)):
            T = chunks * C + rest
            if T > 0 and most >= C:
                K, V = next(widths)
                yield Size(T, K, V, C, HV=2)


EVERY_CHUNK_SIZE = tuple(_every_chunk_size())
# As the functions stand: one span, a token more than a span, and two spans and a part.
SPANS = (Size(257, 5, 3), Size(530, 2, 3, HV=2))
HEADS = (Size(37, 3, 2, B=2), Size(40, 2, 3, H=2, HV=6, B=3), Size(65, 5, 5, 8, H=3, HV=3), Size(5, 10, 12, H=2, HV=4))
PACKED = (
    Size(80, 3, 2, lengths=(33, 1, 0, 33, 5), HV=2),  # two of one length, one without tokens, and a tail of no sequence
    Size(70, 2, 5, 8, lengths=(8, 17, 1, 8, 7, 29), H=2, HV=4),
    Size(20, 3, 3, 7, lengths=(20,)),
)
NARROW = ((3, 2), (2, 3), (2, 2), (1, 3), (3, 1))  # which many sizes take in turn


def _narrow(sizes: Iterable[tuple[int, int]]) -> tuple[Size, ...]:
    """Return streams of T tokens in chunks of C, whose widths take turns."""
    return tuple(Size(T, K, V, C) for (T, C), (K, V) in zip(sizes, cycle(NARROW), strict=False))


TAILS = _narrow((T, CHUNK_SIZE) for T in range(33, 65))  # a last chunk of every length
# In chunks so small that few tokens are up to six spans; the last span has from one to all of its chunks.
MANY_SPANS = _narrow(
    (T, C)
    for C, lengths in ((1, (9, 15, 16, 24, 41)), (2, (17, 18, 20, 23, 26, 29, 31, 32, 33, 40, 47, 48, 49, 64, 65, 81)))
    for T in lengths
)
_WIDE = ((16, 17), (33, 20), (20, 33), (64, 65), (65, 64), (128, 12), (12, 128), (128, 144), (100, 7), (7, 100), (9, 9),
         (4, 4), (6, 6), (7, 8), (8, 7), (16, 16), (32, 32), (64, 64))  # fmt: skip
WIDE = tuple(Size(5, K, V, 2) for K, V in _WIDE)
_PER_KEY = ((1, 1), (1, 2), (1, 4), (2, 1), (2, 3), (3, 2), (4, 1), (5, 2), (8, 1), (2, 8), (1, 16))  # H, and HV a head
MANY_HEADS = tuple(
    Size(T, K, V, 2, B=B, H=H, HV=H * groups, remembers=bool(T % 3))
    for T, B, (H, groups), (K, V) in zip(
        cycle((5, 4, 7, 3)), cycle((4, 1, 8, 3, 2, 5, 16)), _PER_KEY * 2, cycle(NARROW), strict=False
    )
)
# Sequences of several spans, many sequences, and more of one length than are run as a batch.
MANY_SEQUENCES = (
    Size(142, 3, 2, 2, lengths=(33, 17, 1, 33, 16, 40)), Size(30, 2, 3, 2, HV=2, lengths=(1, 5, 2, 5, 0, 3, 2, 7, 5)),
    Size(13, 2, 1, 2, HV=128, lengths=(2, 2, 2, 2, 2, 3)), Size(8, 1, 2, 2, HV=512, lengths=(2, 2, 3, 1)),
    Size(230, 1, 1, lengths=(210, 9)), Size(21, 3, 2, 2, H=2, HV=6, lengths=(7,) * 3),
)  # fmt: skip
NEAR = (Size(37, 3, 2, 8, HV=2), *PACKED[:1])  # where a misprint shows
GATES = tuple(
    Size(T, 3, 2, 8, HV=2, B=2, decays=decays, erases=erases, remembers=remembers)
    for T, decays, erases, remembers in (
        (20, True, True, False), (21, True, False, True), (16, False, True, True), (23, False, False, False),
        (7, True, False, False), (9, False, True, False),
    )
)  # fmt: skip
MANY_GATES = tuple(replace(gates, T=gates.T + 20, C=2) for gates in GATES)  # in several spans
MANY = (*MANY_SPANS, *WIDE, *MANY_HEADS, *MANY_SEQUENCES, *MANY_GATES)
# Where tokens clear the memory, in two spans, too. Few and small, with all that the forms do, so that mutants meet them
# first.
RESETS = (
    Size(5, 3, 2, 2, HV=2, resets=True), Size(5, 3, 2, 2, HV=2, B=2, erases=False, remembers=False, resets=True),
    Size(21, 3, 2, 2, H=2, HV=4, B=2, resets=True), Size(19, 5, 3, 3, lengths=(7, 0, 4, 7), resets=True),
    Size(9, 3, 2, 2, lengths=(4, 0, 4), erases=False, resets=True),
    Size(41, 2, 3, 8, resets=True), Size(40, 3, 2, HV=2, resets=True),  # several in a chunk
)  # fmt: skip
# As many sequences as tokens: in each of them another token's log decay outweighs all others together.
OUTWEIGHED = tuple(Size(T, 1, 1, C, B=T) for C, T in ((1, 3), (2, 5), (3, 7), (8, 17), (16, 17), (32, 33)))
TYPES = (Size(11, 3, 2, 4, HV=2), Size(12, 2, 3, 4, lengths=(5, 0, 6), HV=2), Size(7, 2, 2, 4, erases=False))
REAL = (Size(150, 64, 48, H=1, HV=2),)
TOKEN_BY_TOKEN = (
    Size(1, 3, 2), Size(2, 1, 1, HV=2), Size(17, 5, 3, H=2, HV=4, B=2), Size(33, 10, 12), Size(16, 2, 2, B=3),
    *(replace(gates, T=6) for gates in GATES),
)  # fmt: skip
# The recurrence at every length to 20 and some to 130, at widths and heads of every kind.
LONGER = (
    *_narrow((T, CHUNK_SIZE) for T in (*range(3, 21), 31, 32, 64, 65, 100, 130)), *WIDE, *MANY_HEADS,
)  # fmt: skip
# Batches on both sides of the length up to which they are run token by token.
SHORT_AND_LONG = (
    Size(5, 3, 2, B=2, HV=2), Size(16, 2, 3, B=3), Size(17, 3, 2, H=2, HV=4), Size(40, 2, 2, B=2), *GATES[1:4],
)  # fmt: skip


def longest(sizes: Iterable[Size]) -> tuple[Size, ...]:
    """Return the size whose residual has the largest degree: a token multiplies by its decay, erase gate and key twice.
    """

    def degree(size: Size) -> tuple[int, int]:
        a_token = ("g" in size.gates) + 3 * bool({"b", "beta"} & {*size.gates})
        return max(size.lengths, default=size.T) * a_token, len(size.gates) + size.remembers

    return (max(sizes, key=degree),)


def scope(sizes: Iterable[Size], *, degree: int = 0, primes: int = 1) -> OverFields:
    """Return the scope of a step that runs these sizes.

    Args:
        sizes: the sizes.
        degree: of the residual, a token; 0 where the code can count it.
        primes: drawn for each size.
    """
    sizes = tuple(sizes)

    def values(name: str) -> tuple[int, ...]:
        return tuple(sorted({getattr(size, name) for size in sizes}))

    named = {name: values(name) for name in NAMED}
    rules = len({size.rule for size in sizes})
    return OverFields(len(sizes), tuple(named.items()), primes, degree=degree * max(named["T"]), rules=rules)
