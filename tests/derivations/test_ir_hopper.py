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
from derivations.engines.ir.order import Lost, Order

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
    machine.order = Order(1)
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


# What no turn of the partitions shows by itself.

SENT = f"""
module {{
  tt.func public @sent(%arg0: !tt.ptr<f32>, %arg1: {MAP}) {{
    %c0 = arith.constant 0 : i32
    %true = arith.constant true
    %v = arith.constant dense<3.000000e+00> : tensor<4x8xf32>
    %full = ttg.local_alloc : () -> {BAR}
    %tile = ttg.local_alloc : () -> {TILE}
    ttng.init_barrier %full, 1 : {BAR}
    ttg.warp_specialize(%tile, %full, %arg1) attributes {{requestedRegisters = array<i32: 24>}}
    default {{
      ttg.local_store %v, %tile : tensor<4x8xf32> -> {TILE}
      ttng.fence_async_shared
      ttng.arrive_barrier %full, 1 : {BAR}
      ttg.warp_yield
    }}
    partition0(%a: {TILE}, %b: {BAR}, %c: {MAP}) num_warps(1) {{
      %zero = arith.constant 0 : i32
      %yes = arith.constant true
      ttng.wait_barrier %b, %zero, %yes : {BAR}
      ttng.async_tma_copy_local_to_global %c[%zero, %zero] %a : {MAP}, {TILE}
      ttng.async_tma_store_wait {{pendings = 0 : i32}}
      ttg.warp_return
    }} : ({TILE}, {BAR}, {MAP}) -> ()
    tt.return
  }}
}}
"""
FENCE = "      ttng.fence_async_shared\n"
WAIT = f"      ttng.wait_barrier %b, %zero, %yes : {BAR}\n"


def sent(code, seed=0):
    """Run a launch as a chain does; return what was written, and how often it ran."""
    lost, runs = Lost(), 0
    while True:
        memory = Memory()
        x, out = Buffer("x", 1, "f32", np.zeros(1, np.int64)), Buffer("out", 32, "f32")
        given = [np.array([memory.add(x)]), Descriptor(memory.add(out), (4, 8), (8, 1), (4, 8))]
        machine = Machine(Carrier(Numbers(random.Random(5))), memory, (1, 1, 1), np.random.default_rng(seed))
        machine.order = Order(1, lost)
        launch(text.parse(code), dict(zip(("%arg0", "%arg1"), given, strict=True)), machine)
        runs += 1
        if not lost.more:
            return out.entries, runs
        lost.more = False


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_sees_what_was_written_behind_a_fence_and_a_barrier(seed):
    written, runs = sent(SENT, seed)
    assert (written == 3).all()
    assert runs == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_without_a_fence_fails(seed):
    with pytest.raises(Unsound, match="without a fence"):
        sent(SENT.replace(FENCE, ""), seed)
    store = f"      ttg.local_store %v, %tile : tensor<4x8xf32> -> {TILE}\n"
    with pytest.raises(Unsound, match="without a fence"):
        sent(SENT.replace(store + FENCE, FENCE + store), seed)


def test_a_fence_of_the_partition_that_copies_is_one_too():
    assert (sent(SENT.replace(FENCE, "").replace(WAIT, WAIT + FENCE))[0] == 3).all()


@pytest.mark.parametrize("seed", range(8))
def test_a_copy_that_does_not_wait_for_the_partition_that_writes_is_no_number_in_any_order(seed):
    assert (sent(SENT.replace(WAIT, ""), seed)[0] == EMPTY).all()


@pytest.mark.parametrize("seed", range(8))
def test_memory_that_is_written_again_before_its_copy_is_no_number(seed):
    again = SENT.replace(f"%full, 1 : {BAR}\n      ttg.warp_yield", f"""%full, 1 : {BAR}
      %w = arith.constant dense<5.000000e+00> : tensor<4x8xf32>
      ttg.local_store %w, %tile : tensor<4x8xf32> -> {TILE}
      ttg.warp_yield""")  # fmt: skip
    assert again != SENT
    assert (sent(again, seed)[0] == EMPTY).all()
    assert (sent(again.replace("5.000", "3.000"), seed)[0] == 3).all()  # the same numbers may be written at any time


@pytest.mark.parametrize("seed", range(4))
def test_partitions_that_write_different_numbers_meanwhile_fail(seed):
    both = SENT.replace(WAIT, f"""      %w = arith.constant dense<5.000000e+00> : tensor<4x8xf32>
      ttg.local_store %w, %a : tensor<4x8xf32> -> {TILE}
""" + FENCE)  # fmt: skip
    with pytest.raises(Unsound, match="writes meanwhile"):
        sent(both, seed)


def test_memory_in_another_layout_is_no_number():
    other = "!ttg.memdesc<8x4xf32, #t, #smem, mutable>"
    seen = SENT.replace("      ttng.fence", f"""      %r = ttg.memdesc_reinterpret %tile : {TILE} -> {other}
      %l = arith.constant dense<7.000000e+00> : tensor<8x4xf32>
      ttg.local_store %l, %r : tensor<8x4xf32> -> {other}
      ttng.fence""")  # fmt: skip
    assert (sent(seen)[0] == EMPTY).all()
