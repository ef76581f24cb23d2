"""The comparison of kernels with their oracles in many cases; PyTorch and Triton are imported where one runs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import Any

from derivations.engines.field import is_counting
from derivations.models.kernel_sizes import AMPERE, Case, Letters, Setting
from derivations.models.torch_sizes import Size, longest

Residuals = Iterator[dict[str, Any]]


def at_points(name: str, cases: Iterable[Case], rng: random.Random, primes: int = 1) -> Residuals:
    """Compare kernels with their oracle in each case, mod as many primes.

    Args:
        name: of the comparison, in ``kernel_forms``.
        cases: sizes and settings.
        rng: draws primes and points.
        primes: for each case.
    """
    run = getattr(import_module("derivations.models.kernel_forms"), name)
    if is_counting():
        cases, primes = (_counted(list(cases)),), 1
    return (run(size, setting, rng) for size, setting in cases for _ in range(primes))


def _counted(cases: list[Case]) -> Case:
    """Return the case with the largest degree, with one head: all have one degree. A root of letters has none."""
    known = [case for case in cases if not case[1].normalise]
    (size,) = longest(size for size, _ in known)
    return replace(size, H=1, HV=1, B=1), next(setting for of, setting in known if of == size)


def for_all_inputs(name: str, cases: Iterable[Letters], rng: random.Random) -> Residuals:
    """Compare kernels on symbols with their oracle in each case; the arguments are those of :func:`at_points`."""
    run = getattr(import_module("derivations.models.kernel_letters"), name)
    return (run(size, setting, some, rng) for size, setting, some in cases)


def addresses(cases: Iterable[tuple[Size, str]], rng: random.Random, setting: Setting = AMPERE) -> Residuals:
    """Run passes for their addresses alone, each at a size."""
    run = import_module("derivations.models.kernel_addresses").addresses
    return (run(size, setting, name, rng) for size, name in cases)
