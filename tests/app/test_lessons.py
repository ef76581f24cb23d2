"""The tour by AppTest: every step that is listed, at the ends of its controls, and behind broken links."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app import compute
from app.lessons import place, registry, showing
from app.lessons.frame import MOST_WORDS, Lesson, Lit, OneOf, Range, Row, Step, Text, quoted, said
from app.lessons.place import FIRST, PATH, Place, from_query, starting, to_query
from app.lessons.registry import LESSONS
from app.reel.panels import Bars, Curves, Line, Map, Maps, Reel, encode
from derivations.registry import load
from gdn_core import reference, streams
from gdn_core.lab.studies import chunkwise, collision, delta, gated, gating, linear, recency
from gdn_core.lab.worker.pool import LaunchError
from gdn_core.rules import RULES

STEPS = [(lesson, step) for lesson in LESSONS.values() for step in lesson.steps]
each_step = pytest.mark.parametrize(
    ("lesson", "step"), STEPS, ids=[f"{lesson.slug}-{step.slug}" for lesson, step in STEPS]
)


def ends(lesson: Lesson, step: Step) -> Iterator[Place]:
    """Yield a step as it starts, and at the lowest and the highest value of each control."""
    yield starting(lesson.slug, step.slug)
    for control in step.controls:
        for end in control.ends:
            yield Place(lesson.slug, step.slug, tuple((step.start | {control.name: end}).items()))


def page() -> None:
    from app.views import lessons

    lessons.page()


def tour(**query: str) -> AppTest:
    at = AppTest.from_function(page, default_timeout=90)
    for name, value in query.items():
        at.query_params[name] = value
    return well(at.run())


def well(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def sentences(at: AppTest) -> list[str]:
    return [element.value for element in (*at.warning, *at.error)]


def link_of(at: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in at.query_params.items()}


@each_step
def test_a_step_shows_the_ends_of_its_controls_and_its_link_follows(lesson: Lesson, step: Step) -> None:
    at = tour(lesson=lesson.slug, step=step.slug)
    for where in ends(lesson, step):
        for control in step.controls:
            key, value = f"tour-{lesson.slug}-{step.slug}-{control.name}", dict(where.values)[control.name]
            kinds = {Range: at.slider, OneOf: at.segmented_control, Text: at.text_area, Row: at.text_input}
            kinds[type(control)](key=key).set_value(value)
        well(at.run())
        assert sentences(at) == []
        assert from_query(link_of(at)) == (where, [])
    said_first = " ".join(element.value for element in at.markdown)
    assert step.question in said_first
    equation, _ = step.written(dict(where.values))
    for part in equation:
        assert (part.tex if isinstance(part, Lit) else part) in said_first


@each_step
def test_the_python_of_a_step_makes_its_numbers_without_the_app(lesson: Lesson, step: Step, tmp_path: Path) -> None:
    shown = showing.show(starting(lesson.slug, step.slug))
    assert not re.search(r"^\s*(from|import) (app|tests|streamlit)\b", shown.python, re.MULTILINE)
    file = tmp_path / "numbers.py"
    file.write_text(shown.python)
    with contextlib.redirect_stdout(io.StringIO()):
        made = runpy.run_path(str(file))
    assert set(made["numbers"]) == set(shown.numbers)
    for name, array in shown.numbers.items():
        if name in step.measured:
            assert np.shape(made["numbers"][name]) == np.shape(array), name
        else:
            np.testing.assert_array_equal(made["numbers"][name], array, err_msg=name)


@each_step
def test_a_step_has_sentences_a_table_and_a_stream_in_the_lab(lesson: Lesson, step: Step) -> None:
    for where in ends(lesson, step):
        shown = showing.show(where)
        for sentence in shown.said:
            assert sentence[0].isupper() or sentence[0].isdigit(), sentence
            assert sentence.endswith("."), sentence
            assert not re.search(r"\d[eE][-+]?\d|nan|inf\b", sentence), sentence
        rows = showing.table(shown)
        assert rows
        assert len(showing.csv(shown).splitlines()) == len(rows) + 1
        read = np.load(io.BytesIO(showing.npz(shown.numbers)), allow_pickle=False)
        assert set(read) == set(shown.numbers)
        compute.tokens(shown.choice)  # the lab takes it
    assert set(step.claims) <= set(load())
    assert all((lesson, step) in registry.showing(claim) for claim in step.claims)


@pytest.mark.parametrize(
    ("query", "named", "where"),
    [
        ({"lesson": "nothing"}, "'lesson'", FIRST),
        ({"lesson": "collision", "step": "nothing"}, "'step'", starting("collision")),
        ({"lesson": "collision", "step": "proof", "beta": "17"}, "'beta'", starting("collision", "proof")),
        ({"lesson": "collision", "step": "proof", "beta": "nan"}, "'beta'", starting("collision", "proof")),
        ({"lesson": "collision", "step": "proof", "beta": ""}, "'beta'", starting("collision", "proof")),
        ({"lesson": "collision", "step": "first", "channels": "1"}, "'channels'", starting("collision")),
        ({"lesson": "collision", "step": "first", "channels": "9" * 500}, "'channels'", starting("collision")),
        ({"lesson": "collision", "step": "first", "channels": "3.5"}, "'channels'", starting("collision")),
        ({"lesson": "collision", "step": "rules", "keys": "<script>"}, "'keys'", starting("collision", "rules")),
        ({"lesson": "recency", "extra": "1"}, "does not know", starting("recency")),
        ({"lesson": "attention", "text": " "}, "'text'", starting("attention")),
        ({"lesson": "mamba", "steps": ""}, "'steps'", starting("mamba")),
        ({"lesson": "mamba", "steps": "1 two 3"}, "'steps'", starting("mamba")),
        ({"lesson": "mamba", "steps": "1 -0.5"}, "'steps'", starting("mamba")),
        ({"lesson": "mamba", "steps": "1, 1e9"}, "'steps'", starting("mamba")),
        ({"lesson": "mamba", "steps": "1 " * 9}, "'steps'", starting("mamba")),
        ({"lesson": "attention", "text": "a " * 10_000}, "'text'", starting("attention")),
        ({"lesson": "attention", "text": "ab " * (MOST_WORDS + 1)}, "'text'", starting("attention")),
    ],
)
def test_a_broken_link_gets_one_sentence_and_the_step_as_it_starts(
    query: dict[str, str], named: str, where: Place
) -> None:
    place, wrong = from_query(query)
    assert (place, len(wrong)) == (where, 1)
    assert named in wrong[0]
    assert len(wrong[0]) < 400


def test_a_broken_link_is_said_on_the_page_until_something_changes() -> None:
    at = tour(lesson="collision", step="proof", beta="-1e300")
    assert len(sentences(at)) == 1
    assert "beta" in sentences(at)[0]
    assert at.slider(key="tour-collision-proof-beta").value == 1.0
    well(at.slider(key="tour-collision-proof-beta").set_value(0.5).run())
    assert sentences(at) == []
    assert link_of(at) == {"lesson": "collision", "step": "proof", "beta": "0.5"}


@pytest.mark.parametrize("typed", ["", "alone", "a b " * 200, "?!"])
def test_a_text_that_cannot_be_read_gets_a_sentence_and_the_last_picture_stays(typed: str) -> None:
    at = tour(lesson="attention")
    well(at.text_area(key="tour-attention-words-text").set_value(typed).run())
    assert len(sentences(at)) == 1
    assert sentences(at)[0].startswith("text: expected")
    assert link_of(at) == {"lesson": "attention", "step": "words"}
    well(at.text_area(key="tour-attention-words-text").set_value("\u200f\u05e9\u05dc\u05d5\u05dd a שלום b").run())
    assert sentences(at) == []
    kept = from_query(link_of(at))[0]
    assert quoted("שלום") in showing.show(kept).said[1]


@pytest.mark.parametrize("typed", ["", "1 2 x", "-1", "0.1 " * 9, "1e400", "\u0663"])
def test_steps_that_cannot_be_read_get_a_sentence_and_the_last_picture_stays(typed: str) -> None:
    at = tour(lesson="mamba")
    well(at.text_input(key="tour-mamba-hand-steps").set_value(typed).run())
    assert len(sentences(at)) == 1
    assert sentences(at)[0].startswith("steps: expected")
    assert link_of(at) == {"lesson": "mamba", "step": "hand"}
    well(at.text_input(key="tour-mamba-hand-steps").set_value(" 2;0, 0.5").run())
    assert sentences(at) == []
    assert link_of(at)["steps"] == "2 0 0.5"


def test_next_walks_through_every_step_and_back_returns() -> None:
    at = tour()
    for lesson, step in PATH[1:]:
        well(at.button(key="next").click().run())
        assert from_query(link_of(at)) == (starting(lesson, step), [])
    assert "next" not in [button.key for button in at.button]
    well(at.button(key="back").click().run())
    assert from_query(link_of(at))[0] == starting(*PATH[-2])
    well(at.button(key=f"lesson-{PATH[0][0]}").click().run())
    assert link_of(at) == {}


def test_where_a_step_cannot_be_shown_the_last_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    at = tour(lesson="collision", step="proof")

    def refused(place: Place) -> showing.Shown:
        if dict(place.values)["beta"] == 0.0:
            raise LaunchError("the kernel gave no result")
        return shown(place)

    shown = showing.show
    monkeypatch.setattr(showing, "show", refused)
    well(at.slider(key="tour-collision-proof-beta").set_value(0.0).run())
    assert "the kernel gave no result" in sentences(at)[0]
    assert any("last picture" in caption.value for caption in at.caption)


def test_controls_that_steps_of_a_lesson_share_keep_their_values() -> None:
    here = starting("compose", "parts").with_values({"decay": "key", "steps": 3})
    there = here.beside(1)
    assert there
    assert (there.step, dict(there.values)) == ("collision", dict(here.values))
    assert here.leading_to("gated", "square") == starting("gated", "square")
    at = tour(**to_query(here))
    well(at.button(key="next").click().run())
    assert from_query(link_of(at)) == (there, [])
    other = Place("delta", "plane", (("value", 0.5),))
    assert other.beside(2) == starting("delta", "gradient")  # a control of the same name, and another range


def test_the_lab_shows_the_rule_that_was_composed() -> None:
    where = starting("compose", "facts").with_values({"decay": "key"})
    assert showing.show(where).choice.rules[0] == "kimi-delta-attention"


def test_every_link_leads_back_to_its_place() -> None:
    for lesson, step in STEPS:
        for where in ends(lesson, step):
            assert from_query(to_query(where)) == (where, [])


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="lesson: expected one of"):
        Place("nothing", "first", ())
    with pytest.raises(ValueError, match="beta: expected a number from 0 to 1"):
        Place("collision", "proof", (("beta", 2.0),))


def test_a_number_in_a_sentence_has_no_exponent_of_a_programming_language() -> None:
    assert [said(x) for x in (0.0, 1.0, -0.256, 3.04e-5, 1e-9, 1.25e7, 99.6)] == [
        "0", "1", "−0.26", "3 × 10⁻⁵", "0", "1.2 × 10⁷", "100",
    ]  # fmt: skip
    assert said(1.2e-7, least=0.0) == "1.2 × 10⁻⁷"
    assert said(12_345.0, 3) == "12,300"


def test_a_reel_refuses_arrays_that_do_not_fit_its_frames() -> None:
    y = np.zeros((3, 4))
    chart = Curves(title="", x=np.arange(4), lines=(Line(name="", y=y),), x_title="", y_title="")
    with pytest.raises(ValueError, match="expected an array of 2 frames, got one of 3"):
        encode(Reel(panels=(chart,), counts="", ticks=("1", "2"), said=("a", "b")))
    with pytest.raises(ValueError, match="one for each of 2 frames"):
        Reel(panels=(), counts="", ticks=("1", "2"), said=("a",))
    maps = Maps(title="", maps=(Map(name="", values=np.zeros((2, 3, 3))),), rows="", columns="")
    bars = Bars(title="", groups=("a",), names=("b",), values=np.zeros((1, 1)), y_title="")
    encode(Reel(panels=(maps, bars), counts="", ticks=("1", "2"), said=("a", "b")))


def test_controls_know_their_ends() -> None:
    assert Range(name="n", label="", low=2, high=5, step=1, start=3).ends == (2, 5)
    assert OneOf(name="n", label="", options={"a": "A", "b": "B"}, start="a").ends == ("a", "b")


# What the lessons say, against the recurrence in float64.


def memory(rule: str, stream: streams.Stream, n: int) -> np.ndarray:
    """The memory after n tokens, by the rule's equation written out."""
    S = np.zeros((stream.v.shape[1], stream.k.shape[1]))
    erases, decays = RULES[rule].erase.value != "none", RULES[rule].decay.value != "none"
    for t in range(n):
        S = (np.exp(stream.g[t]) if decays else 1.0) * S
        beta = stream.beta[t] if erases else 0.0
        write = stream.beta[t] if erases else 1.0
        S = S - beta * np.outer(S @ stream.k[t], stream.k[t]) + write * np.outer(stream.v[t], stream.k[t])
    return S


def test_collision_measures_the_errors_of_the_recurrence() -> None:
    numbers = collision.recall_of_all("random", "scalar")
    stream = collision.stream_of(collision.keys_of("random", 16), alpha=0.98)
    for n in (1, 16, 17, 48):
        for r, rule in enumerate(collision.SETS["scalar"]):
            off = stream.k[:n] @ memory(rule, stream, n).T - stream.v[:n]
            assert numbers["error"][n - 1, r] == pytest.approx((off**2).sum(axis=1).mean(), rel=1e-4, abs=1e-9)
        k, v = stream.k[:n], stream.v[:n]
        least = ((v - k @ np.linalg.pinv(k) @ v) ** 2).sum() / n
        assert numbers["best"][n - 1] == pytest.approx(least, abs=1e-9)


def test_collision_predicts_the_error_of_the_first_key_from_overlaps() -> None:
    for keys in ("orthogonal", "random"):
        numbers = collision.answer_to_the_first(keys, 8)
        stream = collision.stream_of(collision.keys_of(keys, 8), alpha=1.0)
        for n in (1, 8, 9, 24):
            off = np.linalg.norm(memory("linear-attention", stream, n) @ stream.k[0] - stream.v[0])
            assert numbers["measured"][n - 1] == pytest.approx(off, abs=1e-5)
            assert numbers["predicted"][n - 1] == pytest.approx(off, abs=1e-9)
    exact = collision.answer_to_the_first("orthogonal", 8)["measured"]
    assert exact[7] < 1e-6
    assert exact[8] > 1e-2


def test_a_third_key_is_answered_the_mixture_of_the_other_two() -> None:
    numbers = collision.third_key(0.7)
    first, second = 0.7 * np.array([1, 0]), 0.7 * np.array([0, 1])
    for angle, before, after in zip(np.radians(numbers["angle"]), numbers["before"], numbers["after"], strict=True):
        mixture = np.cos(angle) * first + np.sin(angle) * second
        np.testing.assert_allclose(before, mixture, atol=1e-12)
        written = 0.7 * (np.array([-0.8, 0.6]) - mixture)
        np.testing.assert_allclose(after[0], first + np.cos(angle) * written, atol=1e-12)
        np.testing.assert_allclose(after[2], mixture + written, atol=1e-12)


def test_recency_tells_the_orders_apart_only_where_the_rule_does() -> None:
    assert recency.in_other_orders("linear-attention")["difference"].max() == 0
    for rule in ("deltanet", "mamba-2"):
        assert (recency.in_other_orders(rule)["difference"][1:] > 0.1).all()


def test_recency_weighs_writes_by_the_products_of_what_is_left() -> None:
    alpha, beta = 0.8, 0.3
    weights = recency.weights_of_writes(alpha, beta)["weights"]
    age = np.arange(12)[::-1]
    expected = [np.ones(12), alpha**age, beta * (1 - beta) ** age, beta * (alpha * (1 - beta)) ** age]
    np.testing.assert_allclose(weights[-1].T, expected, atol=1e-12)
    assert (weights[3, 4:] == 0).all()


def test_recency_runs_ten_thousand_tokens_as_the_recurrence_does() -> None:
    numbers = recency.long_stream(0.97)
    marks = numbers["tokens"].tolist()
    assert marks[-1] == 10_000
    rng = np.random.default_rng(0)
    k, v = np.eye(8)[rng.integers(8, size=10_000)], rng.standard_normal((10_000, 4))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    total = v.T @ k
    assert numbers["norm"][-1, 0] == pytest.approx(np.linalg.norm(total))
    assert numbers["error"][-1, 0] == pytest.approx(np.linalg.norm(total @ k[-1] - v[-1]))
    n = marks[20]
    stream = recency.stream_of(k[:n], v[:n], 0.97, 1.0)
    for r, rule in enumerate(recency.RULES_COMPARED):
        x = streams.tokens(RULES[rule], stream)
        S, o = reference.recurrent(np.zeros((4, 8)), x)
        assert numbers["norm"][20, r] == pytest.approx(np.linalg.norm(S), rel=1e-9)
        assert numbers["error"][20, r] == pytest.approx(np.linalg.norm(o[-1] - v[n - 1]), abs=1e-9)


def test_linear_attention_is_one_model_in_three_forms() -> None:
    stream = linear.six_tokens()
    expected = [sum(int(stream.q[t] @ stream.k[i]) * stream.v[i].astype(int) for i in range(t + 1)) for t in range(6)]
    for size in range(1, 7):
        numbers = linear.three_forms(size)
        for form in ("at_once", "token_by_token", "in_chunks"):
            np.testing.assert_array_equal(numbers[form], expected)
    np.testing.assert_array_equal(numbers["memory"][-1], stream.v.T @ stream.k)


def test_linear_attention_weighs_by_products_and_by_positive_features() -> None:
    numbers, stream = linear.weights(2.0), linear.eight_tokens(2.0)
    for t in range(8):
        products = [float(stream.q[t] @ k) for k in stream.k[: t + 1]]
        np.testing.assert_allclose(numbers["products"][t, : t + 1], products)
        softmax = np.exp(products) / sum(np.exp(products))
        np.testing.assert_allclose(numbers["softmax"][t, : t + 1], softmax)
        phi = [np.where(x > 0, x + 1, np.exp(x)) for x in (stream.q[t], stream.k[: t + 1])]
        features = phi[1] @ phi[0]
        np.testing.assert_allclose(numbers["features"][t, : t + 1], features / features.sum(), atol=1e-5)
    assert np.triu(numbers["softmax"], 1).max() == 0


def test_linear_attention_without_a_normaliser_grows_with_the_tokens() -> None:
    same = linear.growth("same")
    np.testing.assert_allclose(same["without"], np.arange(1, 49), rtol=1e-5)
    np.testing.assert_allclose(same["with_normaliser"], 1, rtol=1e-5)


def test_delta_multiplies_what_lies_along_the_key_by_one_less_beta() -> None:
    for value in (-1.0, 0.0, 0.7):
        numbers = delta.in_the_plane(value)
        along, across = numbers["before"] @ numbers["key"], [-numbers["key"][1], numbers["key"][0]]
        moved = (1 - numbers["beta"]) * along + numbers["beta"] * value
        np.testing.assert_allclose(numbers["answer"], moved, atol=1e-12)
        np.testing.assert_allclose(numbers["written"] @ across, numbers["before"] @ across)
        slope = (along - value) ** 2 / 2 * (1 - numbers["beta"]) ** 2
        np.testing.assert_allclose(numbers["loss"], slope, atol=1e-12)
        np.testing.assert_allclose(numbers["valley"] @ numbers["key"], value, atol=1e-12)
        losses = (numbers["equal"] @ numbers["key"] - value) ** 2 / 2
        np.testing.assert_allclose(losses, np.broadcast_to([[[0.1]], [[0.4]], [[0.9]]], (3, 2, 2)), atol=1e-12)
    for beta in (0.0, 1.0, 1.5, 2.0, 2.4):
        numbers = delta.again_and_again(beta)
        assert numbers["eigenvalue"] == pytest.approx(1 - beta)
        np.testing.assert_allclose(numbers["along"], numbers["along"][0] * (1 - beta) ** np.arange(21), atol=1e-12)
        np.testing.assert_allclose(numbers["across"], numbers["across"][0])


def test_delta_in_space_moves_along_the_keys_and_is_seen_as_a_projection() -> None:
    for beta, turn in ((1.0, 60), (0.3, 0), (1.9, 170)):
        numbers, stream = delta.in_space(beta, turn), delta.three_keys(beta).window(1, 13)
        S = numbers["memory"][0]
        for t, (k, v) in enumerate(zip(stream.k, stream.v[:, 0], strict=True)):
            np.testing.assert_allclose(numbers["memory"][2 * t + 1], S - beta * (S @ k) * k, atol=1e-12)
            S = S - beta * (S @ k - v) * k
            np.testing.assert_allclose(numbers["memory"][2 * t + 2], S, atol=1e-12)
            before, after = numbers["off"][[2 * t, 2 * t + 2], t % 3]
            assert after == pytest.approx(abs(1 - beta) * before, abs=1e-12)
        eye = numbers["axes"]
        np.testing.assert_allclose(eye.T @ eye, np.eye(2), atol=1e-12)
        np.testing.assert_allclose(numbers["seen"], numbers["memory"] @ eye, atol=1e-12)
        np.testing.assert_array_equal(numbers["path"][7, 7:], np.tile(numbers["seen"][7], (18, 1)))
        for n, t in enumerate(numbers["token"]):  # a square is seen smaller by the cosine of its angle to the view
            x, y = numbers["plane"][n].T
            area = abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2
            assert area == pytest.approx(abs(stream.k[max(t, 0)] @ np.cross(eye[:, 0], eye[:, 1])))
        np.testing.assert_allclose(stream.k @ numbers["goal"], stream.v[:, 0])
    assert delta.in_space(1.0, 0)["off"][-1].max() < 0.01


def test_gating_leaves_the_products_of_the_decays() -> None:
    alpha, spread = 0.9, 0.6
    numbers, stream = gating.what_is_left(alpha, spread), gating.one_write(alpha, spread)
    summed = np.cumsum(stream.g, axis=0)  # the first token, which writes, does not decay
    for name, expected in (
        ("constant", np.exp(np.median(stream.g, axis=0).mean() * np.arange(gating.T))),
        ("by_token", np.exp(summed.mean(axis=1))),
        ("slowest", np.exp(summed).max(axis=1)),
        ("fastest", np.exp(summed).min(axis=1)),
    ):
        np.testing.assert_allclose(numbers[name], expected, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(np.exp(stream.g[1:].mean()), alpha, rtol=0.02)


def test_gating_measures_the_errors_of_the_recurrence() -> None:
    numbers, stream = gating.old_and_new(0.9), gating.pairs(0.9)
    for n in (1, 5, 48):
        for r, rule in enumerate(("linear-attention", "mamba-2")):
            off = np.linalg.norm(stream.k[:n] @ memory(rule, stream, n).T - stream.v[:n], axis=1)
            assert numbers["first"][n - 1, r] == pytest.approx(off[0], abs=1e-5)
            assert numbers["left"][n - 1, r] == pytest.approx(0.9 ** (r * (n - 1)), abs=1e-5)
            assert numbers["newest"][n - 1, r] == pytest.approx(off[-4:].mean(), abs=1e-5)


def test_gated_measures_the_errors_of_the_recurrence_and_what_the_square_is_for() -> None:
    error, mine = gated.recall(0.1, "grid")["error"], []
    for draw in range(gated.DRAWS):
        stream = gated.facts(0.1, draw)
        scalar = streams.Stream(**vars(stream) | {"g": stream.g.mean(axis=1)})
        off = memory("gated-deltanet", scalar, gated.T) @ stream.k[gated.CHANGED] - stream.v[gated.AGAIN]
        mine.append(np.linalg.norm(off))
    assert error[-1, 1, 3] == pytest.approx(np.mean(mine))
    assert np.isnan(error[gated.RECENT - 1, 2]).all()
    for fact in (1, 2):
        assert error[-1, fact].argmin() == 3  # Gated DeltaNet answers what changed, and what is recent, best
    assert error[-1, 0].argmin() == 2  # and DeltaNet, which clears nothing, what is old


def test_gated_deltanet_comes_to_mamba_2_with_the_square_of_eps() -> None:
    numbers = gated.limit(0.1)
    slope = np.diff(np.log(numbers["difference"][4:])) / np.diff(np.log(numbers["eps"][4:]))
    np.testing.assert_allclose(slope, 2, atol=0.02)
    assert (numbers["difference"] > 0).all()


def test_chunkwise_solves_the_errors_of_the_recurrence() -> None:
    for alpha in (0.5, 1.0):
        numbers, stream = chunkwise.matrices(16, alpha), chunkwise.stream_of(alpha, chunkwise.BETA)
        errors, _, _ = by_recurrence(np.zeros((chunkwise.V, chunkwise.K)), stream, 16, alpha)
        np.testing.assert_allclose(numbers["errors"], errors, atol=1e-12)
        np.testing.assert_allclose(numbers["U"], errors, atol=1e-12)
        np.testing.assert_allclose(numbers["T"][-1], np.linalg.inv(np.eye(16) + numbers["A"]), atol=1e-12)
        decays = [[alpha ** (i - j) if j <= i else 0 for j in range(16)] for i in range(16)]
        np.testing.assert_allclose(numbers["Gamma"], decays, atol=1e-12)


def by_recurrence(S: np.ndarray, stream: streams.Stream, size: int, alpha: float) -> tuple[np.ndarray, ...]:
    """Write out Gated DeltaNet with the gate 0.8: its errors, outputs and last memory."""
    errors, outputs = [], []
    for q, k, v in zip(stream.q[:size], stream.k[:size], stream.v[:size], strict=True):
        errors.append(0.8 * (v - alpha * S @ k))
        S = alpha * S + np.outer(errors[-1], k)
        outputs.append(S @ q)
    return np.array(errors), np.array(outputs), S


def test_chunkwise_begins_with_a_memory_and_ends_with_that_of_the_recurrence() -> None:
    for size, alpha in ((2, 0.5), (7, 0.9), (16, 1.0)):
        numbers, before = chunkwise.carried(size, alpha), chunkwise.stream_of(alpha, chunkwise.BETA, seed=1)
        S = by_recurrence(np.zeros((chunkwise.V, chunkwise.K)), before, 16, alpha)[2]
        np.testing.assert_allclose(numbers["S"], S, atol=1e-12)
        expected = by_recurrence(S, chunkwise.stream_of(alpha, chunkwise.BETA), size, alpha)
        for name, right in zip(("N", "O", "after"), expected, strict=True):
            np.testing.assert_allclose(numbers[name], right, atol=1e-12, err_msg=name)
        assert np.abs(numbers["WS"]).max() > 0.01
        assert (numbers["apart"] < 1e-13).all()


def test_chunkwise_is_exact_in_fractions_and_at_rounding_level_in_floats() -> None:
    numbers = chunkwise.agreement(0.9)
    assert (numbers["exact"] == 0).all()
    for name in chunkwise.FLOATS:
        unit = torch.finfo(getattr(torch, name)).eps
        assert unit / 50 < numbers[name].max() < 20 * unit, name


def test_bfloat16_rounds_numbers_and_the_results_of_operations_as_torch_does() -> None:
    rng = np.random.default_rng(5)
    x, y = (rng.standard_normal((50, 40)).astype(np.float32) * 10.0 ** rng.integers(-9, 9, (50, 1)) for _ in range(2))
    x[0, :4] = 1 + np.array([1, 3, 0.99, 1.01]) * 2.0**-8  # two ties, and beside one
    a, b = torch.tensor(x).bfloat16(), torch.tensor(y).bfloat16()
    mine, other = chunkwise.in_bfloat16(x), chunkwise.in_bfloat16(y)
    for ours, theirs in (
        (mine, a),
        (mine + other, a + b),
        (mine * other, a * b),
        (np.exp(mine / 1e9), (a / 1e9).exp()),
    ):
        np.testing.assert_array_equal(np.asarray(ours), theirs.float().numpy())
    assert isinstance(mine @ other.T, chunkwise.Bfloat16)
    product = np.asarray(mine).astype(float) @ np.asarray(other).astype(float).T
    near = np.abs(product) > 1e-2 * (np.abs(np.asarray(mine)) @ np.abs(np.asarray(other)).T)
    np.testing.assert_allclose(np.asarray(mine @ other.T)[near], product[near], rtol=2.0**-8)


def test_chunkwise_factors_leave_the_range_of_float32_where_their_difference_does_not() -> None:
    numbers = chunkwise.exponents(0.5)
    fails = ~np.isfinite(numbers["growing"])
    np.testing.assert_array_equal(fails, numbers["size"] >= 128)  # 2^128 is past the largest float32
    assert (numbers["together"] <= 1).all()
    within = numbers["size"] <= 126
    np.testing.assert_allclose(numbers["together"][within], 0.5 ** (numbers["size"][within] - 1.0), rtol=1e-5)


class Counted:
    """A number that counts the multiplications of its kind."""

    times = 0

    def __mul__(self, other: Counted) -> Counted:
        Counted.times += 1
        return self

    def __add__(self, other: object) -> Counted:
        return self

    __sub__ = __radd__ = __add__


def test_chunkwise_counts_the_multiplications_of_the_reference() -> None:
    d, length = 3, 8
    one = Counted()

    def filled(*shape: int) -> np.ndarray:
        return np.full(shape, one, dtype=object)

    x = reference.Token(
        q=filled(length, d), k=filled(length, d), v=filled(length, d), g=filled(length, 1, 1), b=filled(length, 1),
        w=filled(length, 1),
    )  # fmt: skip
    numbers = chunkwise.cost(str(d), 1, clock=iter(range(100)).__next__)
    for n, size in enumerate((1, 2, 4, 8)):
        Counted.times = 0
        reference.chunkwise(filled(d, d), x, chunk_size=size, exp=lambda g: g)
        assert Counted.times == pytest.approx(length * (numbers["inside"][n] + numbers["carried"][n]))
    assert numbers["waits"][6] == chunkwise.LENGTH / 64
    assert (numbers["seconds"] == 1).all()  # from one look at the clock to the next


def test_chunkwise_times_what_has_the_outputs_of_the_recurrence() -> None:
    rng = np.random.default_rng(0)
    q, k, v = rng.standard_normal((3, 12, 5)) / 5**0.5
    stream = streams.Stream(
        q=q,
        k=k,
        v=v,
        g=np.full(12, np.log(0.7)),
        beta=np.full(12, 0.8),
        w=np.ones(12),
        delta=np.ones(12),
        A=-np.ones(5),
    )
    _, outputs, S = by_recurrence(np.zeros((5, 5)), stream, 12, 0.7)
    for size in (1, 3, 12):
        after, o = chunkwise.in_chunks(q, k, v, np.cumsum(stream.g), stream.beta, size)
        np.testing.assert_allclose(o, outputs, atol=1e-12)
        np.testing.assert_allclose(after, S, atol=1e-12)


def test_the_path_is_the_lessons_in_order() -> None:
    assert [(lesson.slug, step.slug) for lesson, step in STEPS] == place.PATH
    assert 3 <= len(STEPS[0][0].steps) <= 6
