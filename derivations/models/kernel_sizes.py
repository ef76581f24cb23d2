"""The settings and sizes at which the kernels are checked; this module needs neither PyTorch nor Triton."""

from __future__ import annotations

from dataclasses import dataclass


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

    def __str__(self) -> str:
        parts = [f"sm_{self.arch}", self.level, self.dtype]
        parts += [f"segments of {self.length} chunks"] if self.length else []
        parts += ["all windows at once"] if self.memory else []
        parts += ["V before K"] if self.state_v_first else []
        parts += ["normalised"] if self.normalise else []
        return ", ".join(parts)
