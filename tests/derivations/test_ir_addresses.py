"""The addresses of launches that no memory could hold, by small kernels' texts."""

import numpy as np
import pytest

from derivations.engines.aten.numbers import Unsound
from derivations.engines.ir import text
from derivations.engines.ir.addresses import Extents, Nowhere, corners, extent
from derivations.engines.ir.evaluator import launch
from derivations.engines.ir.operations import Machine

#: Each program adds up N rows of 64 numbers, by a pointer that moves from round to round.
CODE = """module {
  tt.func public @rows(%x: !tt.ptr<f32>, %out: !tt.ptr<f32>, %N: i32) {
    %zero = arith.constant 0 : i32
    %one = arith.constant 1 : i32
    %start = arith.constant dense<0.000000e+00> : tensor<64xf32>
    %width = arith.constant 64 : i32
    %row = arith.constant dense<64> : tensor<64xi32>
    %i = tt.get_program_id x : i32
    %lane = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %first = arith.muli %i, %N : i32
    %offset = arith.muli %first, %width : i32
    %p = tt.addptr %x, %offset : !tt.ptr<f32>, i32
    %ps = tt.splat %p : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %pl = tt.addptr %ps, %lane : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    %end:2 = scf.for %n = %zero to %N step %one iter_args(%a = %pl, %s = %start) -> (KIND, tensor<64xf32>)  : i32 {
      %v = tt.load %a : tensor<64x!tt.ptr<f32>>
      %t = arith.addf %s, %v : tensor<64xf32>
      %b = tt.addptr %a, %row : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
      scf.yield %b, %t : tensor<64x!tt.ptr<f32>>, tensor<64xf32>
    }
    %to = arith.muli %i, %width : i32
    %q = tt.addptr %out, %to : !tt.ptr<f32>, i32
    %qs = tt.splat %q : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
    %ql = tt.addptr %qs, %lane : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
    tt.store %ql, %end#1 : tensor<64x!tt.ptr<f32>>
    tt.return
  }
}""".replace("KIND", "tensor<64x!tt.ptr<f32>>")


def ran(programs, rounds, *, missing=0):
    memory = Extents()
    sizes = {"x": programs * rounds * 64 - missing, "out": programs * 64}
    given = [np.array([memory.add(extent(name, size, "f32"))]) for name, size in sizes.items()]
    machine = Machine(Nowhere(), memory, (programs, 1, 1), np.random.default_rng(0))
    function = text.parse(CODE)
    values = dict(zip((name for name, _ in function.parameters), [*given, np.array([rounds])], strict=True))
    return launch(function, values, machine, corners(machine.grid))


def test_long_loops_and_large_grids_run_in_part():
    assert ran(1 << 12, 1 << 12) == ran(3, 5) < 50


def test_an_offset_of_32_bits_overflows_in_the_last_program():
    ran(1 << 15, (1 << 10) - 1)
    with pytest.raises(Unsound, match="an integer of 32 bits overflows"):
        ran((1 << 15) + 1, 1 << 10)


@pytest.mark.parametrize("rounds", [1, 2, 3, 4, 1 << 12])
def test_the_last_round_of_the_last_program_is_inside(rounds):
    with pytest.raises(Unsound, match=f"outside of it: entry {4 * rounds * 64 - 1} of"):
        ran(4, rounds, missing=1)


def test_corners_are_the_first_and_last_programs_along_each_axis_and_several_along_the_first():
    assert corners((20, 3, 1)).tolist() == [n + 40 * m for m in range(2) for n in (0, 1, 2, 3, 16, 17, 18, 19)]
