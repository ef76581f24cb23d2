"""The tour by AppTest: every step that is listed, at the ends of its controls, and behind broken links."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import compute, link
from app.lessons import place, registry, showing
from app.lessons.frame import MOST_WORDS, Lesson, Lit, OneOf, Range, Row, Step, Text, quoted, said
from app.lessons.place import FIRST, PATH, Place, from_query, starting, to_query
from app.lessons.registry import LESSONS
from app.reel.panels import Bars, Curves, Line, Map, Maps, Reel, encode
from derivations.registry import load
from gdn_core.lab.worker.pool import LaunchError

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
        assert link.left_out(shown.choice) == []  # and a link carries it
    assert set(step.claims) <= set(load())
    assert all((lesson, step) in registry.showing(claim) for claim in step.claims)


@each_step
def test_the_names_below_bars_fit_a_phone(lesson: Lesson, step: Step) -> None:
    room, letter = 390 - 2 * 16 - 66, 5.5  # CSS pixels of a chart, and of a letter
    shown = showing.show(starting(lesson.slug, step.slug))
    header = json.loads(shown.buffer[4 : 4 + int.from_bytes(shown.buffer[:4], "little")])
    for groups in [panel["groups"] for panel in header.get("panels", ()) if panel["kind"] == "Bars"]:
        every = 1 if len(groups) <= 6 else int(np.ceil(len(groups) * 26 / room))
        widest = max(len(word) for group in groups for word in group.split())
        assert widest * letter <= room / len(groups) * every + letter


ABSURD = ("", " ", "nan", "1e999", "-1e300", "9" * 500, "שלום", "<script>", "\x00", "1" * 20_000, "½")


@each_step
def test_every_field_of_a_link_gets_its_ends_or_one_sentence(lesson: Lesson, step: Step) -> None:
    here = {"lesson": lesson.slug, "step": step.slug}
    start = starting(lesson.slug, step.slug)
    for control in step.controls:
        for end in control.ends:
            where, wrong = from_query({**here, control.name: str(end)})
            assert (dict(where.values)[control.name], wrong) == (end, [])
        beyond = [str(x) for x in (control.low - 1, control.high + 1)] if isinstance(control, Range | Row) else []
        for value in (*ABSURD, *beyond):
            where, wrong = from_query({**here, control.name: value})
            assert where == start, value
            assert len(wrong) == 1 and repr(control.name) in wrong[0] and len(wrong[0]) < 400, value
        if len(step.controls) > 1:  # one that is wrong takes no other with it
            other = next(one for one in step.controls if one != control)
            where, wrong = from_query({**here, control.name: "nan", other.name: str(other.ends[1])})
            assert (dict(where.values)[other.name], len(wrong)) == (other.ends[1], 1)


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
    at.session_state[f"All lessons-{'-'.join(PATH[-2])}"] = True
    well(at.run())
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


def test_a_lesson_computes_nothing_with_matrices_and_has_at_most_150_lines() -> None:
    for module in Path(registry.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(module.read_text(encoding="utf-8"))))
        assert not [n.lineno for n in nodes if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)], module.name
        assert not [n.lineno for n in nodes if isinstance(n, ast.Attribute) and n.attr == "linalg"], module.name
        assert module.name == "frame.py" or len(module.read_text(encoding="utf-8").splitlines()) <= 150, module.name


def test_the_path_is_the_lessons_in_order() -> None:
    assert [(lesson.slug, step.slug) for lesson, step in STEPS] == place.PATH
    assert 3 <= len(STEPS[0][0].steps) <= 6
