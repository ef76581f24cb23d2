"""The kernel of the lab: what Triton compiles of it takes each rule's memory from token to token as the reference does.

PyTorch and Triton are imported by the steps and not by this module, so that the claims can be listed without them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from derivations.claim import Code
from derivations.engines.cases import symbols
from derivations.engines.field import is_counting
from derivations.models.computed import EXACTLY, recurrence
from derivations.models.kernel_sizes import HOPPER, WIDE, Setting, all_inputs, scope
from derivations.models.torch_sizes import Size
from derivations.mutants.of_kernels import Fault, refuting
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET, RULES, Gate, WriteRule

SIZES = tuple(Size(T, 12, 20, T) for T in (1, 7, 33))
BY_ROW = (Size(7, 12, 20, 7), Size(7, 40, 3, 7))


def _rules(wide: bool) -> list[WriteRule]:
    """Return the rules that have a decay or a key for each row of the memory, or those that have none."""
    rows = (Gate.VALUE, Gate.MATRIX)
    return [rule for rule in RULES.values() if (rule.decay in rows or rule.write is Gate.MATRIX) is wide]


def _side_by_side(
    sizes: Sequence[Size], rng: random.Random, setting: Setting = WIDE, *, wide: bool, primes: int = 1
) -> Iterator[dict[str, Any]]:
    """Compare the kernel with the reference, for rules side by side at each size, mod as many primes."""
    run = import_module("derivations.models.kernel_forms").trajectory
    if is_counting():
        sizes, primes = sizes[-1:], 1  # the longest
    return (run(_rules(wide), size, setting, rng) for size in sizes for _ in range(primes))


@claim(
    statement=recurrence(r"\operatorname{trajectory\_kernel}(x, S_0) = (S_1, \dots, S_T)"),
    assumptions=EXACTLY,
    scope=scope(((size, WIDE) for size in SIZES), primes=3),
    engine="ir",
    source=cite("2412.06464", "eq. 10, for every rule of the family"),
    code=(Code("gdn_core.ops.kernels.trajectory", "trajectory_kernel"), reference.moments, reference.step),
    needs=("torch", "triton"),
)
def trajectory_kernel_equals_every_rule(rng: random.Random) -> Any:
    """The kernel of the lab, as Triton compiled it, reads and writes the memory of every rule as the reference does."""
    return _side_by_side(SIZES, rng, wide=False, primes=3)


@trajectory_kernel_equals_every_rule.step(engine="ir", scope=scope(((size, HOPPER) for size in BY_ROW), primes=3))
def gates_for_each_row_of_the_memory(rng: random.Random) -> Any:
    """Rules with a decay, or a key, for each row of the memory."""
    return _side_by_side(BY_ROW, rng, HOPPER, wide=True, primes=3)


LETTERS = (Size(3, 2, 2, 3), Size(2, 3, 1, 2))


@trajectory_kernel_equals_every_rule.step(engine="ir", scope=all_inputs((size, WIDE, ()) for size in LETTERS))
def every_rule_for_all_inputs(rng: random.Random) -> Any:
    """On letters, decays among them, the kernel is each rule alone, for all inputs of these sizes."""
    run = import_module("derivations.models.kernel_letters").trajectory
    return (run(rule, size, WIDE, rng) for size in LETTERS for rule in RULES.values())


@trajectory_kernel_equals_every_rule.step(engine="ring", scope=Sizes(dk=3, dv=2))
def stages_end_with_the_step() -> Any:
    """The stages that the kernel is compared with end with the memory and the output of the step."""
    case = symbols(GATED_DELTANET, 1, 2, 3)
    stages = reference.moments(case.S, case.x[0], exp=case.exp)
    return case.compare((stages.written, stages.o), reference.step(case.S, case.x[0], exp=case.exp))


KERNEL = "trajectory.trajectory_kernel"
FAULTS = (
    (False, Fault("decay_after_the_error", "The error is read from the memory before its decay.",
                  KERNEL, "        b_S *= b_a  # decay\n        b_read = tl.reduce(b_S * b_e,",
                  "        b_read = tl.reduce(b_S * b_e,")),
    (False, Fault("erase_key_written", "What is written goes to the erase key.",
                  KERNEL, "b_S += b_u * b_k", "b_S += b_u * b_e")),
    (False, Fault("query_and_key_swapped", "The outputs are read by the key.",
                  KERNEL, "tl.reduce(b_S * b_q, 2", "tl.reduce(b_S * b_k, 2")),
    (False, Fault("rows_of_the_tallest_rule", "Values of one rule are taken to be as far apart as one token's.",
                  KERNEL, "p_v += o_r * T * V + o_v", "p_v += o_r * V + o_v")),
    (True, Fault("decays_of_the_first_token", "The decays of the first token serve all.",
                 KERNEL, "p_a += s_a", "p_a += 0 * s_a")),
    (True, Fault("keys_along_the_rows", "Keys of rows are read with the strides of rows and channels swapped.",
                 KERNEL, "s_v_k * o_v + s_k_k * o_k", "s_k_k * o_v + s_v_k * o_k")),
)  # fmt: skip


def _refuted(wide: bool) -> Any:
    return lambda rng: _side_by_side(BY_ROW[:1], rng, wide=wide)


for _wide, _fault in FAULTS:
    refuting(trajectory_kernel_equals_every_rule, _fault, _refuted(_wide))
