"""Partitions, barriers and copies by tensor maps, on a text of their own."""

import random

import numpy as np
import pytest

from derivations.engines.aten.numbers import EMPTY, Numbers, Unsound
from derivations.engines.ir import text
from derivations.engines.ir.carrier import Carrier
from derivations.engines.ir.evaluator import launch
from derivations.engines.ir.memory import Buffer, Descriptor, Memory
from derivations.engines.ir.operations import Machine

BAR = "!ttg.memdesc<1xi64, #s, #smem, mutable>"
TILE = "!ttg.memdesc<4x8xf32, #s, #smem, mutable>"
MAP = "!tt.tensordesc<tensor<4x8xf32, #s>>"
CODE = f"""
module {{
  tt.func public @moved(%arg0: {MAP}, %arg1: {MAP}) {{
    %c0 = arith.constant 0 : i32
    %true = arith.constant true
    %bar = ttg.local_alloc : () -> {BAR}
    %tile = ttg.local_alloc : () -> {TILE}
    ttng.init_barrier %bar, 1 : {BAR}
    ttg.warp_specialize(%tile, %bar, %arg0) attributes {{requestedRegisters = array<i32: 24>}}
    default {{
      ttng.wait_barrier %bar, %c0, %true : {BAR}
      ttng.async_tma_copy_local_to_global %arg1[%c0, %c0] %tile : {MAP}, {TILE}
      ttng.async_tma_store_wait {{pendings = 0 : i32}}
      ttg.warp_yield
    }}
    partition0(%a: {TILE}, %b: {BAR}, %c: {MAP}) num_warps(1) {{
      %zero = arith.constant 0 : i32
      %yes = arith.constant true
      ttng.barrier_expect %b, 128, %yes : {BAR}
      ttng.async_tma_copy_global_to_local %c[%zero, %zero] %a, %b, %yes : {MAP}, {BAR} -> {TILE}
      ttg.warp_return
    }} : ({TILE}, {BAR}, {MAP}) -> ()
    tt.return
  }}
}}
"""


def moved(code, seed=0):
    memory = Memory()
    x, out = Buffer("x", 32, "f32", np.arange(32)), Buffer("out", 32, "f32")
    maps = [Descriptor(memory.add(buffer), (4, 8), (8, 1), (4, 8)) for buffer in (x, out)]
    machine = Machine(Carrier(Numbers(random.Random(5))), memory, (1, 1, 1), np.random.default_rng(seed))
    launch(text.parse(code), dict(zip(("%arg0", "%arg1"), maps, strict=True)), machine)
    return out.entries


@pytest.mark.parametrize("seed", range(4))
def test_a_partition_moves_what_another_one_copied(seed):
    assert (moved(CODE, seed) == np.arange(32)).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_that_no_wait_covers_is_no_number(seed):
    assert (moved(CODE.replace("wait_barrier %bar, %c0, %true", "wait_barrier %bar, %c0, %false").replace(
        "%true = arith.constant true\n", "%true = arith.constant true\n    %false = arith.constant false\n"
    ), seed) == EMPTY).all()  # fmt: skip


@pytest.mark.parametrize(
    ("right", "wrong"), [("%b, 128, %yes", "%b, 64, %yes"), ("init_barrier %bar, 1", "init_barrier %bar, 2")]
)
def test_a_barrier_that_nobody_completes_fails(right, wrong):
    with pytest.raises(Unsound, match="none goes on"):
        moved(CODE.replace(right, wrong))
