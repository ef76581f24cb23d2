"""Pictures of choices: right for concurrent visitors, computed once, and kept within bounds."""

import io
from dataclasses import replace

import numpy as np
import pytest

from app import compute, uploads
from app.choice import Choice, Origin, Stage, TableRow
from gdn_core import reference, streams
from gdn_core.lab.scenarios import Reading
from gdn_core.rules import RULES, Discretisation

SMALL = replace(Choice().settings, dk=6, dv=5, T=9)


def picture(**changes: object) -> compute.Picture:
    return compute.picture(Choice(settings=SMALL, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_picture_shows_what_the_reference_computes(rule: str) -> None:
    shown = picture(rules=(rule,))
    tokens = streams.tokens(RULES[rule], shown.scenario.stream)
    S = np.zeros((tokens.v.shape[1], 6))
    for t in range(9):
        moments = reference.moments(S, tokens[t])
        S = moments.written
        for stage in (Stage.BEFORE, Stage.DECAYED, Stage.ERASED, Stage.WRITTEN):
            (got,) = compute.stage(shown, t, stage)
            np.testing.assert_allclose(got, getattr(moments, stage.value)[:5], atol=1e-5)
        (taken,), (added,) = compute.stage(shown, t, Stage.TAKEN), compute.stage(shown, t, Stage.ADDED)
        np.testing.assert_allclose(taken, (moments.decayed - moments.erased)[:5], atol=1e-5)
        np.testing.assert_allclose(added, (moments.written - moments.erased)[:5], atol=1e-5)
    assert shown.limit == pytest.approx(float(np.abs(shown.trajectory.states).max()))


def test_each_source_is_read_as_its_own() -> None:
    text = compute.scenario(Choice(origin=Origin.TEXT, text="one = 1\ntwo = 2", settings=SMALL))
    assert text.labels[:2] == ("one → 1", "two → 2")
    table = compute.scenario(
        Choice(origin=Origin.TABLE, table=(TableRow("a", "b"), TableRow("c", "d", beta=0.5)), settings=SMALL)
    )
    assert table.labels == ("a → b", "c → d")
    assert table.stream.beta[1].mean() == pytest.approx(0.5)


def test_what_only_shows_does_not_compute_again() -> None:
    choice = Choice(settings=SMALL)
    assert compute.picture(choice) is compute.picture(replace(choice, token=3, stage=Stage.TAKEN))
    assert compute.picture(choice) is not compute.picture(replace(choice, settings=replace(SMALL, seed=7)))


def test_visitors_cannot_change_each_other_s_arrays() -> None:
    shown = picture()
    for array in (shown.trajectory.states, shown.scenario.stream.k, compute.recall(Choice(settings=SMALL), shown)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_an_equation_is_that_of_the_discretisation_chosen() -> None:
    own, zoh = (
        compute.equations(Choice(rules=("mamba",), discretisation=method)) for method in (None, Discretisation.ZOH)
    )
    assert r"\Delta_t \odot v_t" in own[0]
    assert r"\bar B_t" in zoh[0]
    assert compute.equations(Choice(rules=("s4",)))[0].startswith("S_t")


def test_the_numbers_of_each_token_are_lengths_of_what_the_picture_holds() -> None:
    choice = Choice(settings=SMALL, rules=("deltanet", "mamba-2"))
    shown = compute.picture(choice)
    rows = compute.numbers(choice, shown)
    assert [(row["rule"], row["token"]) for row in rows] == [(r, t) for r in choice.rules for t in range(9)]
    for row in rows:
        r, t = choice.rules.index(row["rule"]), row["token"]
        want = {
            "|S|": shown.trajectory.states[r, t + 1],
            "|o|": shown.trajectory.o[r, t],
            "|u|": shown.trajectory.u[r, t],
        }
        for name, array in want.items():
            assert row[name] == pytest.approx(float(np.sqrt((array.astype(float) ** 2).sum())), rel=1e-5)
        assert row["label"] == shown.scenario.labels[t]


def test_a_rule_that_overflows_does_not_set_the_scale_of_the_others() -> None:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    np.savez(file, k=3 * rng.normal(size=(150, 6)), beta=np.ones(150))
    upload = uploads.read([("a.npz", file.getvalue())])
    choice = Choice(origin=Origin.ARRAYS, files=upload.files, rules=("mamba-2", "deltanet"))
    shown = compute.picture(choice, upload)
    assert list(shown.overflows) == ["DeltaNet"]
    assert shown.limit == float(np.abs(shown.trajectory.states[0]).max())
    assert "normalise keys and queries" in shown.overflow_notes[-1]
    normalised = compute.picture(replace(choice, reading=Reading(normalise=True)), upload)
    assert normalised.overflow_notes == []


def test_a_window_of_an_upload_begins_with_the_memory_before_it_and_one_array_is_another() -> None:
    rng = np.random.default_rng(1)
    file = io.BytesIO()
    np.savez(file, keys=rng.normal(size=(1, 2, 300, 6)) / 4, other=rng.normal(size=(1, 2, 300, 5)))
    upload = uploads.read([("a.npz", file.getvalue())])
    reading = Reading(names={"v": "other"})
    choice = Choice(origin=Origin.ARRAYS, files=upload.files, head=1, start=290, reading=reading, rules=("deltanet",))
    shown = compute.picture(choice, upload)
    S, k, v = np.zeros((5, 6)), upload.arrays["keys"][0, 1], upload.arrays["other"][0, 1]
    for t in range(290):
        S = S + np.outer(v[t] - S @ k[t], k[t])
    np.testing.assert_allclose(shown.trajectory.states[0, 0], S, rtol=1e-5, atol=1e-6)
    empty = compute.picture(replace(choice, reading=replace(reading, from_empty=True)), upload)
    assert not empty.trajectory.states[0, 0].any()
    assert "computed from the 290 tokens before" in " ".join(shown.scenario.notes)
