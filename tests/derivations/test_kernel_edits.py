"""Edits of compiled text: what they change, and that the command runs them and names those that nothing notices."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from derivations.mutants import of_texts
from derivations.mutants.of_texts import edits

TEXT = """module {
  tt.func public @it(%arg0: !tt.ptr<f32>) attributes {noinline = false} {
    %cst = arith.constant dense<0.000000e+00> : tensor<8xf32>
    %c1 = arith.constant 7 : i32
    %0 = arith.cmpi slt, %c1, %c1 : i32
    %1 = arith.subi %c1, %arg1 : i32
    %2 = arith.select %0, %1, %c1 : i32
    %3 = tt.load %arg0, %0, %cst : tensor<8x!tt.ptr<f32>>
    tt.store %arg0, %3, %0 : tensor<8x!tt.ptr<f32>>
    %4 = tt.dot %3, %arg4, %cst, inputPrecision = tf32 : tensor<8x8xf32> * tensor<8x8xf32> -> tensor<8x8xf32>
    scf.for %i = %1 to %2 {
      %1 = arith.addi %i, %2 : i32
      use %1
    }
  }
}"""


def test_each_kind_of_edit_is_made_once():
    made = [(edit.before.partition(" = ")[2] or edit.before, edit.after) for edit in edits(TEXT)]
    afters = [after for _, after in made]
    for after in (
        "%cst = arith.constant dense<1.000000e+00> : tensor<8xf32>",
        "%c1 = arith.constant 8 : i32",
        "%0 = arith.cmpi sle, %c1, %c1 : i32",
        "%1 = arith.subi %arg1, %c1 : i32",
        "%3 = tt.load %arg0 : tensor<8x!tt.ptr<f32>>",
        "tt.store %arg0, %3 : tensor<8x!tt.ptr<f32>>",
        "%4 = tt.dot %arg4, %3, %cst, inputPrecision = tf32 : tensor<8x8xf32> * tensor<8x8xf32> -> tensor<8x8xf32>",
    ):
        assert afters.count(after) == 1, after
    assert afters.count("%c1") == 2  # of the difference its first operand, of the selection the other one
    assert len({edit.text for edit in edits(TEXT)}) == len(made) == 11


def test_an_operation_is_left_out_as_long_as_its_name_means_its_result():
    (edit,) = [edit for edit in edits(TEXT) if "subi" in edit.before and edit.after == "%c1"]
    assert "subi" not in edit.text
    assert "%2 = arith.select %0, %c1, %c1 : i32" in edit.text
    assert "scf.for %i = %c1 to %2 {" in edit.text
    assert "%1 = arith.addi %i, %2 : i32\n      use %1" in edit.text


@pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("triton") is None,
    reason="Triton's compiler is published for Linux only",
)
def test_the_command_refutes_edits():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "derivations.kernel_edits", "--step", "300", "--first", "5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("6 edits in ")
    assert " refuted" in done.stdout
    assert all(len(key) == 3 and reason for key, reason in of_texts.UNNOTICED.items())
