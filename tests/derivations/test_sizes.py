"""Variants of the code that are wrong at some sizes only: a step at many sizes leaves a residual for each."""

import pytest

from derivations.mutants.by_hand import misprinted
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import reference, reference_backward, ssm

# By claim: the function, the statement behind which another memory or input is put, and the sizes where it is.
CHUNK = (reference.chunk, "C = len(x)", "S = 2 * S")
CHUNKWISE = (reference.chunkwise, "outputs: list[Array] = []", "S = 2 * S")
RECURRENT = (reference.recurrent, "outputs = []", "S = 2 * S")
STEP = (reference.step, "S = exp(x.g) * S", "S = 2 * S")
MOMENTS = (reference.moments, "decayed = exp(x.g) * S", "decayed = 2 * decayed")
BACKWARD = (reference_backward.chunk_backward, "C = len(x)", "do = 2 * do")
ROWS = (reference_backward._by_rows, "dq, db = (gathered('q', shared=True), gathered('b', shared=True))", "dq = 2 * dq")
TOKENS = (ssm.tokens, "none = 0 * delta[:, :1]", "B = 2 * B")
VARIANTS = [
    *(("every_rule_has_a_chunk_form", *CHUNK, at) for at in (
        "C == 1", "C == 16", "C == 33", "C == 65", "S.shape[0] > S.shape[1]", "S.shape[0] == S.shape[1]",
        "C == 50", "S.shape == (12, 12)", "S.shape == (C, 3) and C == 7", "S.shape == (64, 64)", "S.shape[1] > 99",
        "S.shape[1] == 1", "S.shape[0] > 9", "x.g.shape[2] > 1 and C > 8", "x.b.shape[1] > 1 and x.g.shape[2] == 1",
    )),
    *(("every_rule_has_a_chunk_form", *CHUNKWISE, at) for at in (
        "len(x) > 12 * chunk_size", "len(x) % chunk_size == 5 and chunk_size > 8",
        "len(x) < chunk_size", "chunk_size == 1", "len(x) > 5 * chunk_size", "len(x) % chunk_size == 1",
        "chunk_size > 2 and len(x) % chunk_size == chunk_size - 1",
    )),
    *(("every_rule_has_a_chunk_form", *RECURRENT, at) for at in (
        "len(x) == 64", "x.g.shape[1] > 1 and S.shape[1] > 9",
    )),
    *(("every_rule_has_a_chunk_form", *STEP, at) for at in (
        "x.b.shape[0] > 1", "x.g.shape == (1, 1) and S.shape[0] == 1",
    )),
    *(("stages_add_up_to_the_step", *MOMENTS, at) for at in ("S.shape[0] == S.shape[1]",)),
    *(("chunk_backward_is_the_derivative", *BACKWARD, at) for at in (
        "S.shape == (10, 10)", "S.shape[0] == S.shape[1] and C < S.shape[0] > 20", "S.shape[1] > 99",
        "C == 1", "C == 17", "S.shape[0] > S.shape[1]", "x.g.shape[2] > 1 and C > 30",
    )),
    ("chunk_backward_is_the_derivative", *ROWS, "len(S) > 9"),
    *(("state_space_model_is_a_write_rule", *TOKENS, at) for at in (
        "len(u) > 16", "delta.shape[1] < u.shape[1] and A.shape[0] > 1",
    )),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "function", "behind", "wrong", "at"), VARIANTS, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_what_is_wrong_at_some_sizes_only_leaves_a_residual_that_names_them(name, function, behind, wrong, at):
    made = load()[name]
    steps = [step for step in made.steps if step.run.__name__.endswith(("_of_every_size", "_of_every_width"))]
    target, _, value = wrong.partition(" = ")
    indent = "    "
    with misprinted(function, behind, f"{behind}\n{indent}{target} = {value} if {at} else {target}"):
        every = [made.check_step(step) for step in steps]
    checked = next(checked for checked in every if checked.verdict is not Verdict.HOLDS)
    assert checked.verdict is Verdict.FAILS, checked.residual
    assert "K = " in checked.residual and "V = " in checked.residual


def test_the_sizes_are_those_that_break_code():
    made = load()["every_rule_has_a_chunk_form"]
    named = dict(next(step.scope.named for step in made.steps if step.run.__name__ == "chunks_of_every_size"))
    assert set(named["C"]) >= {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100}
    assert {1, 2, 3, 5} <= set(named["K"]) & set(named["V"]) and max(named["K"]) > 9 < max(named["V"])
