"""Mutants: which changes are made, that claims refute them, and that the code is restored."""

import dataclasses
import inspect

import numpy as np
import pytest

from derivations.mutants.by_hand import planted
from derivations.mutants.by_machine import changed, every_mutant
from derivations.mutants.equivalent import EQUIVALENT
from derivations.mutants.refutation import Cost, refute, unearned
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import integrators, reference, reference_backward, ssm
from gdn_core.ops.torch import chunk, recurrent
from gdn_core.reference import Token
from gdn_core.rules import RULES


def one_token(K=3, V=2):
    draw = np.random.default_rng(0)
    return draw.normal(size=(V, K)), Token(
        q=draw.normal(size=(1, K)), k=draw.normal(size=(1, K)), v=draw.normal(size=(1, V)),
        g=-np.ones((1, 1, 1)), b=np.full((1, 1), 0.5), w=np.full((1, 1), 0.5),
    )  # fmt: skip


def test_a_planted_misprint_changes_a_copy_and_not_the_code():
    S, x = one_token()
    wrong = planted(reference.step, "S + u[:, None]", "S - u[:, None]")
    right, _ = reference.step(S, x[0])
    assert np.abs(wrong(S, x[0])[0] - right).max() > 0.1
    assert (reference.recurrent(S, x)[0] == right).all()


def test_a_planted_misprint_calls_itself_where_the_function_does():
    S, x = one_token()
    by_row = dataclasses.replace(x, g=x.g + np.zeros((1, 2, 1)))
    wrong = planted(reference.chunk, "gamma[C - 1] * S", "0 * S")
    assert np.abs(wrong(S, by_row)[0] - reference.chunk(S, by_row)[0]).max() > 0.1


@pytest.mark.parametrize("place", ["no such thing", "x.b * x.k)) + "])
def test_a_misprint_of_what_does_not_stand_there_is_refused(place):
    with pytest.raises(ValueError, match="once, found it 0 times"):
        planted(reference.step, place, "")


def test_a_misprint_of_what_stands_there_twice_is_refused():
    with pytest.raises(ValueError, match="once, found it"):
        planted(reference.step, "S", "x")


def test_every_function_of_the_code_is_broken():
    broken = {mutant.place for mutant in every_mutant()}
    for code in (reference, ssm, integrators, reference_backward):
        for name, function in vars(code).items():
            if inspect.isfunction(function) and function.__module__ == code.__name__ and name != "explicit":
                assert f"{code.__name__}.{name}" in broken  # explicit returns a gate as it is
    assert {"gdn_core.reference.Token.row", "gdn_core.reference.Token.__getitem__"} <= broken
    assert {mutant.module for mutant in every_mutant()} == {*changed(), "gdn_core.rules"}
    for code in (chunk, recurrent):
        for name, function in vars(code).items():
            if inspect.isfunction(function) and function.__module__ == code.__name__ and name != "_multiply":
                assert f"{code.__name__}.{name}" in broken


def test_the_faults_that_people_make_are_among_them():
    made = {(mutant.function, mutant.before, mutant.after) for mutant in every_mutant()}
    step = "u = x.w * x.v - S @ (x.b * x.k)"
    for after in ("u = x.w * x.v + S @ (x.b * x.k)", "u = x.w * x.v - S @ x.k", "u = x.w * x.v"):
        assert ("step", step, after) in made  # a sign, a dropped gate, nothing erased
    assert ("step", "S = exp(x.g) * S", "S = exp(0 * x.g) * S") in made  # no decay
    assert ("chunk", "for i in range(1, C):", "for i in range(2, C):") in made  # off by one
    assert ("forward", "minus = -gates.so_far", "minus = gates.so_far") in made  # of the PyTorch chunk form
    scaled = ("recurrent", "o[:, t] = (scale * torch.bmm(rows(q, t), S)).view(B, HV, V)")
    assert (*scaled, scaled[1].replace("scale", "scale * 1.001")) in made
    assert ("forward", "Aqk = (Aqk.view(n, B, H, 1, C, C) * gated.to(dtype)).tril_().view(n * X, C, C)",
            "Aqk = (Aqk.view(n, B, H, 1, C, C) * gated.to(dtype)).view(n * X, C, C)") in made  # fmt: skip
    transposed = [m for m in made if m[0] == "chunk" and m[1].count(".T") > m[2].count(".T")]
    strict = [m for m in made if m[0] == "chunk" and "[:i + 1]" in m[1] and "[:i + 0]" in m[2]]
    assert transposed and strict


def test_docstrings_types_and_messages_are_not_broken():
    assert not any('"""' in mutant.before or mutant.before.startswith(("raise", "def ")) for mutant in every_mutant())
    assert len({mutant.key for mutant in every_mutant()}) == len(every_mutant())
    assert all(mutant.before != mutant.after for mutant in every_mutant())


def test_what_is_listed_as_equivalent_exists_and_has_a_reason():
    keys = {mutant.key for mutant in every_mutant()}
    assert [key for key in EQUIVALENT if key not in keys] == []
    assert all(reason.endswith(".") for reason in EQUIVALENT.values())


def test_a_mutant_is_planted_wherever_the_function_was_imported_and_mended_again():
    S, x = one_token()
    step = reference.step  # as a module that imports the name has it
    right = step(S, x[0])[0]
    mutant = next(m for m in every_mutant() if m.function == "step" and m.after == "S = S - u[:, None] * x.k[None, :]")
    with mutant.in_place():
        assert np.abs(step(S, x[0])[0] - right).max() > 0.1
        assert (reference.recurrent(S, x)[0] == step(S, x[0])[0]).all()
    assert (step(S, x[0])[0] == right).all()
    with pytest.raises(ZeroDivisionError), mutant.in_place():
        raise ZeroDivisionError
    assert (step(S, x[0])[0] == right).all()


def test_every_mutant_of_the_step_is_refuted_and_a_harmless_one_survives():
    names = ("stages_add_up_to_the_step", "every_token_is_an_affine_map", "padding_leaves_the_memory")
    claims = [load()[name] for name in names]
    costs = {
        (claim.name, n, rule.slug if rule else ""): Cost(float(n))
        for claim in claims
        for n, step in enumerate(claim.steps)
        for rule in step.runs(RULES.values())
    }
    broken = [mutant for mutant in every_mutant() if mutant.place == "gdn_core.reference.step"]
    harmless = dataclasses.replace(broken[-1], compiled=lambda: reference.step.__code__)
    found = refute([*broken, harmless], costs)
    assert [mutant.by != "" for mutant in found] == [True] * len(broken) + [False]
    assert all(mutant.residual for mutant in found[:-1])


def test_a_mutant_at_which_steps_only_crash_is_told_apart_and_a_residual_is_looked_for():
    claims = [load()[name] for name in ("every_rule_has_a_chunk_form", "stages_add_up_to_the_step")]
    costs = {(claim.name, 0, "gated-deltanet"): Cost(float(n)) for n, claim in enumerate(claims)}
    broken = next(mutant for mutant in every_mutant() if mutant.place == "gdn_core.reference.step")
    crashing = (lambda S, x, *, exp=None: 1 / 0).__code__
    crashing = crashing.replace(co_varnames=("S", "x", "exp"))
    (found,) = refute([dataclasses.replace(broken, compiled=lambda: crashing)], costs)
    assert found.raises and "ZeroDivisionError" in found.residual

    def wrong_for_one(S, x, *, exp):  # crashes for two tokens, and leaves a residual for one
        S = exp(x.g) * S
        return S, S[: len(S) // (x.q is not None)] @ x.k

    (found,) = refute([dataclasses.replace(broken, compiled=lambda: wrong_for_one.__code__)], costs)
    assert not found.raises and found.residual


def test_a_default_is_broken_in_place_and_mended():
    S, x = one_token()
    right = reference.recurrent(S, x)[0]
    mutant = next(m for m in every_mutant() if m.place == "gdn_core.reference.step" and m.default)
    assert (mutant.before, mutant.after) == ("exp=np.exp", "exp=np.negative")
    with mutant.in_place():
        assert np.abs(reference.step(S, x[0])[0] - right).max() > 0.1
        assert (reference.recurrent(S, x)[0] == right).all()  # which passes its own
    assert (reference.step(S, x[0])[0] == right).all()


def test_a_function_that_a_claim_names_for_show_is_unearned():
    name = "every_token_is_an_affine_map"
    named = ["gdn_core.reference.step", "gdn_core.reference.chunk"]
    assert unearned(name, named, {(name, 0, ""): Cost(0.0)}) == ("gdn_core.reference.chunk",)


def test_a_misprint_that_cannot_be_planted_is_no_refutation():
    made = load()["chunk_output_needs_the_decay_mask"]
    right = made.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("derivations.claims.errata.output_mask.MASKED", ("exp(G[i] -  G[:i + 1])", "exp(0 * G[:i + 1])"))
        other = made.check()
    assert right.verdict is Verdict.HOLDS and not right.notes
    assert not other.faults or all("no step applies" in fault for fault in other.faults)
    assert other.notes and "was not run" in other.notes[0]


def test_a_step_that_remembers_a_mutant_is_caught(monkeypatch):
    made = load()["every_token_is_an_affine_map"]
    remembered = []

    def forgetful():
        remembered.append(reference.step.__code__)
        return int(remembered[0] is not remembered[-1] or len(remembered) > 1)

    scope = made.scopes[0]
    monkeypatch.setattr(made, "steps", [])
    made.step(engine="words", scope=scope)(forgetful)
    remembered.append(reference.step.__code__)
    broken = [mutant for mutant in every_mutant() if mutant.place == "gdn_core.reference.step"][:1]
    with pytest.raises(RuntimeError, match="remembers the mutant"):
        refute(broken, {(made.name, 0, ""): Cost(0.0)})
