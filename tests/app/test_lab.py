"""The lab by AppTest: what a visitor changes counts, a link is the state, and what is wrong is a sentence."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import compute, link, session
from app.choice import STARTING_RULES, Choice, Origin, TableRow
from gdn_core.lab.scenarios import PRESETS
from gdn_core.lab.worker.pool import LaunchError
from gdn_core.rules import RULES
from tests.app.lab_page import SMALL, grey, linked, sentences, shown, well


def test_the_page_opens_with_a_picture_and_an_empty_link(lab: Callable[..., AppTest]) -> None:
    at = lab()
    assert sentences(at) == []
    assert linked(at) == {}
    preset = PRESETS["overwrite"]
    said = " ".join(element.value for element in (*at.markdown, *at.caption))
    assert preset.look_for in said
    for slug in preset.rules:
        assert RULES[slug].title in said
    assert "ms for 4 rules" in " ".join(element.value for element in at.caption)


def test_a_preset_opens_on_the_chart_that_shows_its_point_and_says_which_that_is(lab: Callable[..., AppTest]) -> None:
    at = lab(preset="parity", see="spectrum")
    said = " ".join(element.value for element in at.markdown)
    assert "The chart that shows it is **Spectrum**" in said
    assert any("1 keeps a direction, 0 erases it" in element.value for element in at.caption)
    well(at.segmented_control(key="panel").set_value("size").run())
    assert any("Effective rank: how many directions" in element.value for element in at.caption)
    well(at.selectbox(key="preset").set_value("long").run())
    assert "The chart that shows it is **Norm and rank**" in " ".join(element.value for element in at.markdown)
    assert at.segmented_control(key="panel").value == "size"


def test_every_key_written_so_far_has_its_answers_in_words_after_the_token_at_rest(lab: Callable[..., AppTest]) -> None:
    at = lab(preset="overwrite", see="keys", t="8")
    said = at.dataframe[0].value
    assert list(said["key"]) == ["key of token 0", *(f"key of token {s}" for s in range(7, 0, -1))]
    assert said["holds"][0] == "second value"
    assert said["Linear attention"][0] == "first value 0.50, second value 0.50"
    assert said["DeltaNet"][0] == "second value 1.00"
    assert said["Mamba-2"][7] == f"value 1 {0.95**7:.2f}"


@pytest.mark.parametrize(
    ("name", "values"),
    [("T", (7, 9, 11)), ("dk", (3, 4, 5)), ("dv", (5, 3, 4)), ("seed", (1, 2, 3)), ("noise", (0.1, 0.2, 0.0))],
)
def test_every_change_of_a_number_counts(lab: Callable[..., AppTest], name: str, values: tuple[float, ...]) -> None:
    at = lab(**SMALL)
    for value in values:
        well(at.number_input(key=name).set_value(value).run())
        assert at.number_input(key=name).value == value
        assert getattr(shown(at).scenario.settings, name) == value


@pytest.mark.parametrize(("name", "values"), [("alpha", (0.5, 0.6, 0.7)), ("beta", (0.5, 1.5, 0.25))])
def test_every_change_of_a_gate_counts(lab: Callable[..., AppTest], name: str, values: tuple[float, ...]) -> None:
    at = lab(**SMALL)
    for value in values:
        well(at.slider(key=name).set_value(value).run())
        assert at.slider(key=name).value == value
        assert linked(at)[name] == str(value)


def test_two_controls_changed_in_turn_both_count(lab: Callable[..., AppTest]) -> None:
    at = lab(**SMALL)
    for T, alpha in ((7, 0.5), (8, 0.6), (9, 0.7)):
        well(at.number_input(key="T").set_value(T).run())
        well(at.slider(key="alpha").set_value(alpha).run())
        settings = shown(at).scenario.settings
        assert (settings.T, settings.alpha) == (T, alpha)


def test_a_link_is_the_state_and_opens_the_same_page(lab: Callable[..., AppTest]) -> None:
    at = lab(preset="overwrite", dk="6", dv="5")
    well(at.multiselect(key="rules").set_value(["gla", "mamba"]).run())
    well(at.number_input(key="delta").set_value(0.3).run())
    well(at.selectbox(key="discretisation").set_value("zoh").run())
    well(at.segmented_control(key="panel").set_value("size").run())
    again = lab(**linked(at))
    assert linked(again) == linked(at)
    assert linked(at) == {
        "preset": "overwrite", "dk": "6", "dv": "5", "rules": "gla.mamba",
        "delta": "0.3", "disc": "zoh", "see": "size",
    }  # fmt: skip
    assert again.multiselect(key="rules").value == ["gla", "mamba"]
    assert again.number_input(key="delta").value == 0.3


def test_going_back_restores_what_the_link_says(lab: Callable[..., AppTest]) -> None:
    at = lab(**SMALL)
    before = linked(at)
    well(at.number_input(key="T").set_value(8).run())
    well(at.number_input(key="T").set_value(7).run())
    after = linked(at)
    for query, T in ((before, 9), (after, 7)):
        at.query_params.clear()
        for name, value in query.items():
            at.query_params[name] = value
        well(at.run())
        assert at.number_input(key="T").value == T
        assert linked(at) == query
    well(at.number_input(key="T").set_value(5).run())
    assert at.number_input(key="T").value == 5


def test_a_change_sent_before_the_last_link_arrived_is_not_lost(lab: Callable[..., AppTest]) -> None:
    at = lab(**SMALL)
    old = linked(at)
    well(at.number_input(key="T").set_value(8).run())
    at.query_params.clear()
    for name, value in old.items():  # the browser had not yet heard of T = 8
        at.query_params[name] = value
    well(at.number_input(key="dk").set_value(4).run())
    assert (at.number_input(key="T").value, at.number_input(key="dk").value) == (8, 4)


def test_a_preset_brings_its_rules_and_settings_and_each_choice_counts(lab: Callable[..., AppTest]) -> None:
    at = lab(preset="long")
    for slug in ("overwrite", "parity", "reset", "overwrite"):
        well(at.selectbox(key="preset").set_value(slug).run())
        assert tuple(at.multiselect(key="rules").value) == PRESETS[slug].rules
        assert at.number_input(key="T").value == PRESETS[slug].settings.T
        assert linked(at) == {"preset": slug}


@pytest.mark.parametrize("slug", sorted(PRESETS))
def test_every_preset_opens(lab: Callable[..., AppTest], slug: str) -> None:
    at = lab(preset=slug)
    assert sentences(at) == []
    assert PRESETS[slug].title in " ".join(element.value for element in at.markdown)


@pytest.mark.parametrize("panel", ["moment", "recall", "size", "spectrum", "numbers"])
def test_every_panel_opens_for_every_rule(lab: Callable[..., AppTest], panel: str) -> None:
    slugs = list(RULES)
    for start in range(0, len(slugs), 4):
        assert sentences(lab(see=panel, rules=".".join(slugs[start : start + 4]), **SMALL)) == []


def test_a_half_life_is_another_way_to_say_the_decay(lab: Callable[..., AppTest]) -> None:
    at = lab(alpha="0.5", **SMALL)
    well(at.segmented_control(key="decay_as").set_value("half-life").run())
    assert at.slider(key="half_life").value == 1.0
    well(at.slider(key="half_life").set_value(2.0).run())
    assert linked(at)["half-life"] == "2.0"
    assert shown(at).scenario.settings.alpha == pytest.approx(0.5**0.5)
    well(at.segmented_control(key="decay_as").set_value("alpha").run())
    assert at.slider(key="alpha").value == pytest.approx(0.5**0.5)


def test_a_gate_that_no_chosen_rule_has_is_greyed_out(lab: Callable[..., AppTest]) -> None:
    at = lab(rules="linear-attention", **SMALL)
    gates = {name: at.slider(key=name).disabled for name in ("alpha", "beta", "write")}
    gates |= {name: at.number_input(key=name).disabled for name in ("delta", "spread")}
    assert gates == dict.fromkeys(("alpha", "beta", "write", "delta", "spread"), True)
    well(at.multiselect(key="rules").set_value(["gated-deltanet-2", "mamba"]).run())
    gates = {name: at.slider(key=name).disabled for name in ("alpha", "beta", "write")}
    gates |= {name: at.number_input(key=name).disabled for name in ("delta", "spread")}
    assert gates == dict.fromkeys(("alpha", "beta", "write", "delta", "spread"), False)


def test_what_acts_on_the_picture_comes_first_and_the_fold_names_what_is_unlike_the_preset(
    lab: Callable[..., AppTest],
) -> None:
    def folded(at: AppTest) -> set[str]:
        (more,) = (block for block in at.sidebar.expander if block.label.startswith("More settings"))
        assert not more.proto.expanded
        return {str(widget.key) for kind in ("slider", "number_input") for widget in more.get(kind)}

    at = lab(preset="overwrite", T="9", noise="0.1", write="0.5", rules="linear-attention")
    assert folded(at) == {"alpha", "beta", "write", "delta", "spread", "noise", "seed"}
    assert [block.label for block in at.sidebar.expander] == ["More settings: noise 0.1"]  # write does not act here
    well(at.number_input(key="seed").set_value(3).run())
    well(at.multiselect(key="rules").set_value(["gated-deltanet-2", "mamba"]).run())
    assert folded(at) == {"spread", "noise", "seed"}
    assert [block.label for block in at.sidebar.expander] == ["More settings: noise 0.1, seed 3"]
    well(at.segmented_control(key="origin").set_value("text").run())
    assert folded(at) == {"T", "spread", "noise", "seed"} | {"write", "delta"}
    assert [block.label for block in at.sidebar.expander] == ["More settings"]
    assert linked(at)["from"] == "text"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"colour": "red"}, "colour"),
        ({"dk": "huge"}, "dk"),
        ({"dk": ""}, "dk"),
        ({"T": "1000000000"}, "T"),
        ({"preset": "nope"}, "preset"),
        ({"rules": "deltanet.gpt"}, "rules"),
        ({"alpha": "0"}, "alpha"),
        ({"half_life": "1e400"}, "half-life"),
        ({"from": "text", "text": "%%%"}, "text"),
        ({"from": "table", "table": link.pack("[[1]]")}, "table"),
    ],
    ids=str,
)
def test_an_absurd_link_gets_one_sentence_and_a_page_that_works(
    lab: Callable[..., AppTest], query: dict[str, str], names: str
) -> None:
    at = lab(**query)
    assert len(sentences(at)) == 1
    assert names in sentences(at)[0]
    well(at.number_input(key="seed").set_value(3).run())
    assert sentences(at) == []
    assert linked(at)["seed"] == "3"


def test_a_token_that_is_not_there_is_said(lab: Callable[..., AppTest]) -> None:
    at = lab(t="500", **SMALL)
    assert any("no token 500" in element.value for element in at.caption)


def test_no_rule_is_a_sentence_and_the_controls_stay(lab: Callable[..., AppTest]) -> None:
    at = lab(**SMALL)
    well(at.multiselect(key="rules").set_value([]).run())
    assert len(sentences(at)) == 1
    assert "1 to 4 rules" in sentences(at)[0]
    assert at.number_input(key="T").value == 9
    well(at.multiselect(key="rules").set_value(["deltanet"]).run())
    assert sentences(at) == []
    assert at.number_input(key="T").value == 9


@pytest.mark.parametrize("text", ["", "   \n ", "word", "\u200b"], ids=["empty", "blank", "one word", "nothing to see"])
def test_a_text_of_too_little_is_a_sentence_and_stays(lab: Callable[..., AppTest], text: str) -> None:
    at = lab(**{"from": "text"})
    well(at.text_area(key="text").set_value(text).run())
    assert len(sentences(at)) == 1
    assert "text" in sentences(at)[0].lower() or "word" in sentences(at)[0].lower()
    assert at.text_area(key="text").value == text
    well(at.text_area(key="text").set_value("a = b\nc = d").run())
    assert sentences(at) == []
    assert shown(at).scenario.labels[0] == "a → b"


@pytest.mark.parametrize(
    "text",
    [
        "word " * 10_000,
        "same " * 50,
        "😀 🎉 👩‍👩‍👧 😀",
        "שלום עולם שלום",
        "مرحبا = العالم",
        "a\x00b c\td",
        "x" * 5_000 + " y",
    ],
    ids=[
        "10,000 words",
        "one word again and again",
        "emoji",
        "right to left",
        "Arabic pair",
        "control characters",
        "long",
    ],
)
def test_unusual_texts_are_shown(lab: Callable[..., AppTest], text: str) -> None:
    at = lab(**{"from": "text"})
    well(at.text_area(key="text").set_value(text).run())
    assert sentences(at) == []


def test_what_was_typed_is_there_again_after_looking_elsewhere(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "text"})
    well(at.text_area(key="text").set_value("my = own\nwords = here").run())
    for origin in ("preset", "table", "text"):
        well(at.segmented_control(key="origin").set_value(origin).run())
    assert at.text_area(key="text").value == "my = own\nwords = here"
    assert tuple(at.multiselect(key="rules").value) == STARTING_RULES


def test_a_table_in_a_link_is_shown_and_a_wrong_cell_is_a_sentence(lab: Callable[..., AppTest]) -> None:
    rows = (TableRow("a", "b"), TableRow("c", "d", alpha=0.5), TableRow(query="a", beta=0.0))
    at = lab(**link.to_query(Choice(origin=Origin.TABLE, table=rows)))
    assert sentences(at) == []
    assert shown(at).scenario.labels == ("a → b", "c → d", "a?")
    wrong = lab(**link.to_query(Choice(origin=Origin.TABLE, table=(TableRow("a", "b", alpha=7.0),))))
    assert len(sentences(wrong)) == 1
    assert "row 1, alpha" in sentences(wrong)[0].lower()


def test_the_tokens_of_a_preset_are_taken_over_into_the_table(lab: Callable[..., AppTest]) -> None:
    at = lab(preset="ignore", see="numbers", T="4", dk="3", dv="2")
    before = shown(at)
    well(at.button(key="edit").click().run())
    assert sentences(at) == []
    assert linked(at)["from"] == "table"
    after = shown(at)
    assert after.scenario.labels == before.scenario.labels
    assert tuple(at.multiselect(key="rules").value) == PRESETS["ignore"].rules
    np.testing.assert_array_equal(after.trajectory.states, before.trajectory.states)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda at: at.multiselect(key="rules").set_value([]),
        lambda at: at.text_area(key="text").set_value(""),
    ],
    ids=["no rule", "no text"],
)
def test_the_last_good_picture_stays_under_a_refusal(
    lab: Callable[..., AppTest], spoil: Callable[[AppTest], object]
) -> None:
    at = lab(**{"from": "text"})
    assert not grey(at)
    spoil(at)
    well(at.run())
    assert len(sentences(at)) == 1
    assert grey(at)
    assert "Pairs to be recalled" in " ".join(element.value for element in at.markdown)
    well(at.multiselect(key="rules").set_value(["deltanet"]).run())
    well(at.text_area(key="text").set_value("a = b").run())
    assert sentences(at) == []
    assert not grey(at)


def test_a_step_of_zero_is_taken(lab: Callable[..., AppTest]) -> None:
    at = lab(rules="mamba", delta="0", **SMALL)
    assert sentences(at) == []
    assert not shown(at).trajectory.states.any()  # every token is ignored


def test_five_hundred_unknown_fields_make_one_sentence(lab: Callable[..., AppTest]) -> None:
    at = lab(**{f"x{i}": "1" for i in range(500)})
    assert len(sentences(at)) == 1
    assert "500 fields" in sentences(at)[0]


def test_a_preset_opens_on_the_panel_that_shows_its_point(lab: Callable[..., AppTest]) -> None:
    at = lab()
    for slug, panel in (("parity", "spectrum"), ("overwrite", "recall"), ("long", "size")):
        well(at.selectbox(key="preset").set_value(slug).run())
        assert at.segmented_control(key="panel").value == panel
        assert linked(at) == {"preset": slug}


class Never:
    """A launch that hangs until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def __call__(self, *_: object, **__: object) -> None:
        self.go_on.wait(60)
        raise LaunchError("a launch took longer than 10 s and was stopped")


def test_a_visitor_need_not_wait_for_a_launch_that_hangs(
    lab: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    at = lab(**SMALL)
    kept = at.session_state[session.SESSION]
    hanging = Never()
    with monkeypatch.context() as patch:
        patch.setattr(compute, "trajectory", hanging)
        kept.cancelled = link.from_query(linked(at) | {"seed": "77"})[0].numbers()
        well(at.number_input(key="seed").set_value(77).run())  # as if the button had been pressed
        assert ["stopped waiting" in sentence for sentence in sentences(at)] == [True]
        assert grey(at)
        hanging.go_on.set()
        well(at.button(key="retry").click().run())
        assert ["longer than 10 s" in sentence for sentence in sentences(at)] == [True]
        assert grey(at)
    well(at.button(key="retry").click().run())
    assert sentences(at) == []
    assert not grey(at)
