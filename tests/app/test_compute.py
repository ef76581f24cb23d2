"""Choices as arrays: right whoever asks, computed once, kept within bounds."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from app import compute
from app.state import Choice, File, Row, Source, Stage
from gdn_core import reference, streams
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
    text = compute.scenario(Choice(source=Source.TEXT, text="one = 1\ntwo = 2", settings=SMALL))
    assert text.labels[:2] == ("one → 1", "two → 2")
    table = compute.scenario(
        Choice(source=Source.TABLE, table=(Row("a", "b"), Row("c", "d", beta=0.5)), settings=SMALL)
    )
    assert table.labels == ("a → b", "c → d")
    assert table.stream.beta[1].mean() == pytest.approx(0.5)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_nobody_sees_a_file_by_knowing_its_digest() -> None:
    k = np.eye(4)
    mine = compute.upload([("mine.npz", npz(k=k))])
    choice = Choice(source=Source.ARRAYS, files=mine.files)
    np.testing.assert_array_equal(compute.picture(choice, mine).scenario.stream.k, k)
    with pytest.raises(ValueError, match=r"mine\.npz"):
        compute.picture(choice)
    with pytest.raises(ValueError, match=r"mine\.npz"):
        compute.picture(choice, compute.upload([("other.npz", npz(k=2 * k))]))
    with pytest.raises(ValueError, match="Choose a file"):
        compute.picture(replace(choice, files=()), mine)


def test_two_files_of_one_name_are_two_pictures() -> None:
    first, second = (compute.upload([("a.npz", npz(k=np.eye(3) * size))]) for size in (1.0, 2.0))
    assert first.files != second.files
    shown = [compute.picture(Choice(source=Source.ARRAYS, files=u.files), u) for u in (first, second)]
    assert shown[0].scenario.stream.k[0, 0] == 1.0
    assert shown[1].scenario.stream.k[0, 0] == 2.0


def test_what_only_shows_does_not_compute_again() -> None:
    choice = Choice(settings=SMALL)
    assert compute.picture(choice) is compute.picture(replace(choice, token=3, stage=Stage.TAKEN))
    assert compute.picture(choice) is not compute.picture(replace(choice, settings=replace(SMALL, seed=7)))


def test_visitors_cannot_change_each_other_s_arrays() -> None:
    shown = picture()
    for array in (shown.trajectory.states, shown.scenario.stream.k, compute.recall(Choice(settings=SMALL), shown)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_many_who_ask_for_the_same_at_once_wait_for_one_computation() -> None:
    once, made, together = compute.Once(1000), [], threading.Barrier(12)

    def make() -> bytes:
        made.append(1)
        time.sleep(0.05)
        return b"value"

    def ask() -> bytes:
        together.wait()
        return once.get("key", make)

    with ThreadPoolExecutor(12) as pool:
        answers = [future.result() for future in [pool.submit(ask) for _ in range(12)]]
    assert answers == [b"value"] * 12
    assert len(made) == 1


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    once, together = compute.Once(1000), threading.Barrier(4)

    def fail() -> bytes:
        time.sleep(0.05)
        raise ValueError("no")

    def ask() -> str:
        together.wait()
        try:
            once.get("key", fail)
        except ValueError as error:
            return str(error)
        return "answered"

    with ThreadPoolExecutor(4) as pool:
        assert [f.result() for f in [pool.submit(ask) for _ in range(4)]] == ["no"] * 4
    assert once.get("key", lambda: b"now") == b"now"


def test_the_cache_stays_within_its_bytes_and_drops_what_was_longest_unused() -> None:
    once = compute.Once(100)
    for key in "abc":
        once.get(key, lambda: b"x" * 40)
    assert once.bytes == 80
    made: list[str] = []
    once.get("b", lambda: made.append("b") or b"")
    once.get("a", lambda: made.append("a") or b"x" * 40)
    assert made == ["a"]
    once.get("b", lambda: made.append("b") or b"")
    assert made == ["a"]


def test_a_value_larger_than_the_cache_is_given_all_the_same() -> None:
    once = compute.Once(10)
    assert once.get("large", lambda: b"x" * 1000) == b"x" * 1000
    once.get("next", lambda: b"y")
    assert once.bytes == 1


def test_a_table_s_cells_are_read_whatever_the_editor_leaves_in_them() -> None:
    cells = [
        {"key": " a ", "value": "b", "alpha": None},
        {"key": None, "value": None, "alpha": None},
        {"key": "c", "value": "", "alpha": float("nan"), "beta": 1},
        {},
        {"query": "a", "label": "asks"},
    ]
    assert compute.rows(cells) == (Row("a", "b"), Row("c", beta=1.0), Row(query="a", label="asks"))


def test_the_table_of_a_scenario_gives_the_scenario_back() -> None:
    made = compute.scenario(Choice(settings=SMALL))
    again = compute.scenario(Choice(source=Source.TABLE, table=compute.as_table(made), settings=SMALL))
    assert again.labels == made.labels
    for name in ("q", "k", "v", "g", "beta", "w", "delta"):
        np.testing.assert_array_equal(getattr(again.stream, name), getattr(made.stream, name))


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


def test_a_file_s_name_is_kept_short_and_without_folders() -> None:
    (file,) = compute.upload([("a/b/" + "x" * 400 + ".npz", npz(k=np.eye(2)))]).files
    assert isinstance(file, File)
    assert "/" not in file.name
    assert len(file.name) <= 200
