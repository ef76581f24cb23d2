"""The settings and sizes at which the kernels are checked; this module needs neither PyTorch nor Triton."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from derivations.models import torch_sizes
from derivations.models.torch_sizes import Launch, Size
from derivations.scope import AllInputs, AtPoints, OverFields

CHUNK = 64  # of the kernels


@dataclass(frozen=True)
class Setting:
    """How kernels are launched.

    Args:
        arch: compute capability of the GPU that they are compiled for, 80 for 8.0.
        dtype: of queries, keys and values.
        level: of the code that is evaluated: ``ttir`` or ``ttgir``.
        length: chunks in a segment; None for as many as the launcher chooses.
        memory: bytes of the GPU, by which the backward pass chooses how much it does at once.
        processors: of the GPU.
        state_v_first: states are [N, HV, V, K].
        normalise: queries and keys are divided by their length.
    """

    arch: int = 80
    dtype: str = "bfloat16"
    level: str = "ttir"
    length: int | None = None
    memory: int = 0
    processors: int = 108
    state_v_first: bool = False
    normalise: bool = False

    @property
    def target(self) -> str:
        """What was compiled, in words."""
        return f"{self.level.upper()} for sm_{self.arch} in {self.dtype}"

    @property
    def launch(self) -> Launch:
        """What was compiled, and how it is launched, in words."""
        return self.target, str(self)

    def __str__(self) -> str:
        parts = [self.target]
        parts += [f"segments of {self.length} chunk{'s' * (self.length > 1)}"] if self.length else []
        parts += ["all windows at once"] if self.memory else []
        parts += ["V before K"] if self.state_v_first else []
        parts += ["normalised"] if self.normalise else []
        return ", ".join(parts)


#: More sequences, and more chunks, than a program of the tables looks at, at a time.
MANY = Size(145, 20, 40, CHUNK, lengths=(2, 0, 3, 1, 2) * 17 + (9,))
NOT_COVERED = (
    "Not covered is what one warp of a partition sees of another's writes: the compiler places barriers behind TTGIR."
)
Case = tuple[Size, Setting]

AMPERE = Setting()
WIDE = Setting(dtype="float32")  # multiplied in float64
SEGMENTS = Setting(length=1)
PAIRS = Setting(length=2)
IN_WINDOWS = Setting(length=1, processors=8)
AT_ONCE = Setting(length=1, memory=1 << 40)
HOPPER = Setting(arch=90, dtype="float32", processors=132)
BLACKWELL = Setting(arch=100, processors=148)

GLUON = Setting(arch=90, level="ttgir", processors=132)  # what Hopper's own kernels are chosen for

LENGTHS = tuple((Size(T, 20, 40, CHUNK, H=2, HV=4), AMPERE) for T in (1, 16, 64, 65, 150))
# Real widths, and float32, which is multiplied in float64.
REAL = ((Size(150, 128, 128, CHUNK, HV=2), AMPERE), (Size(150, 72, 40, CHUNK, HV=2), WIDE))
GATES = tuple(
    (Size(65, 20, 40, CHUNK, HV=2, decays=decays, erases=erases, remembers=remembers), AMPERE)
    for decays, erases, remembers in ((False, True, True), (True, False, True), (False, False, False))
)


# Hopper's own kernels: one warpgroup and two, maps of segments, packed sequences, absent gates, and float16.
ON_HOPPER = (
    *((Size(T, 64, 64, CHUNK, H=2, HV=4), GLUON) for T in (1, 16, 64, 65, 150)),
    (Size(280, 64, 64, CHUNK, HV=2), GLUON),
    (Size(150, 128, 128, CHUNK, HV=2), replace(GLUON, processors=2)),
    (Size(150, 128, 128, CHUNK, HV=2), replace(GLUON, length=1)),
    (Size(180, 64, 128, CHUNK, HV=2, lengths=(65, 0, 64, 16)), replace(GLUON, dtype="float16", state_v_first=True)),
    (Size(150, 64, 64, CHUNK, H=2, HV=4, lengths=(70, 0, 1, 76)), replace(GLUON, length=1)),
    *(
        (Size(150, 64, 64, CHUNK, HV=2, decays=decays, erases=erases, remembers=remembers), GLUON)
        for decays, erases, remembers in ((False, True, True), (True, False, True), (False, False, False))
    ),
)


#: Sizes at which every entry is a symbol. A symbol for each of many tokens makes polynomials too long: where a sequence
#: has several chunks, these tokens have symbols, and the others are zero.
Letters = tuple[Size, Setting, tuple[int, ...]]
SMALL: tuple[Letters, ...] = (
    (Size(2, 2, 1, CHUNK, H=2, HV=4), AMPERE, ()),
    (Size(5, 2, 2, CHUNK, lengths=(2, 0, 3)), SEGMENTS, ()),
    (Size(66, 2, 1, CHUNK), AMPERE, (0, 63, 64)),
    (Size(130, 1, 2, CHUNK), SEGMENTS, (63, 64, 129)),
    (Size(3, 2, 1, CHUNK), replace(AMPERE, level="ttgir"), ()),
    (Size(66, 2, 1, CHUNK), replace(HOPPER, level="ttgir"), (0, 63, 64)),
)


def all_inputs(cases: Iterable[Letters]) -> AllInputs:
    """Return the scope of a step that runs these cases on symbols."""
    cases = tuple(cases)
    some = max(len(some) for *_, some in cases)
    made = scope((size, setting) for size, setting, _ in cases)
    return AllInputs(made.cases, made.sizes, made.built, made.rules, some)


LONG = Size(1 << 20, 128, 128, CHUNK, H=32, HV=32)  # 2^32 keys and values, and 2^33 entries of memories, one a chunk
# On Hopper with a part of a chunk, whose outputs no tensor map writes; and with so many processors that no program of
# the kernels that go from chunk to chunk does many, where rounds would be left out.
LONG_ON_HOPPER = (replace(LONG, T=LONG.T + 33), replace(GLUON, processors=1 << 20))
MANY_STEPS = Size(1, 128, 128, CHUNK, H=32, HV=32, B=1 << 13)  # 2^32 entries of memories
ADDRESSES = AtPoints(
    "addresses of the first and last programs, and of the first and last rounds of their loops, at 2^32 entries of a "
    "tensor"
)


def scope(cases: Iterable[Case], *, primes: int = 1, degree: int = 0) -> OverFields:
    """Return the scope of a step that runs these cases; the degree is that of a token, where none can be counted."""
    cases = tuple(cases)
    made = torch_sizes.scope((size for size, _ in cases), degree=degree, primes=primes)
    return replace(made, built=tuple(dict.fromkeys(setting.target for _, setting in cases)))
