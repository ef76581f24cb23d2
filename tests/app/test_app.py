"""The pages by AppTest: what a visitor changes counts, a link is the state, and what is wrong is a sentence."""

import io
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import compute, link, session, uploads
from app.choice import STARTING_RULES, Choice, Origin, TableRow
from gdn_core.lab.scenarios import PRESETS
from gdn_core.lab.worker.pool import LaunchError
from gdn_core.rules import LINEAGE, RULES
from gdn_core.streams import Stream

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"dk": "6", "dv": "5", "T": "9"}


@pytest.fixture
def lab() -> Callable[..., AppTest]:
    """Open the lab by a link."""

    def open_(**query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=90)
        for name, value in query.items():
            at.query_params[name.replace("_", "-")] = value
        return well(at.run())

    return open_


def well(at: AppTest) -> AppTest:
    """Check that no exception reached the page."""
    assert not at.exception, at.exception
    return at


def linked(at: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in at.query_params.items()}


def sentences(at: AppTest) -> list[str]:
    return [element.value for element in (*at.warning, *at.error)]


def shown(at: AppTest) -> compute.Picture:
    """Return the picture that the link of the page leads to."""
    choice, wrong = link.from_query(linked(at))
    assert wrong == []
    return compute.picture(choice)


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


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def give(at: AppTest, *files: tuple[str, bytes]) -> AppTest:
    return well(at.file_uploader[0].set_value([(name, data, "") for name, data in files]).run())


GOOD = {"k": np.eye(4, 3), "v": np.arange(8.0).reshape(4, 2)}


def test_an_upload_is_shown_and_named_in_the_link(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    assert sentences(at) == []
    assert [element.value for element in at.info if "Choose a file" in element.value]
    give(at, ("mine.npz", npz(**GOOD)))
    assert sentences(at) == []
    assert linked(at)["file"] == "mine.npz"
    assert len(linked(at)["sha"]) == 16
    assert any("cannot carry a file" in element.value for element in at.caption)
    other = lab(**linked(at))
    assert [element.value for element in other.info if "mine.npz" in element.value]
    give(other, ("mine.npz", npz(**GOOD)))
    assert sentences(other) == []
    assert linked(other) == linked(at)


BAD_FILES = {
    "not a number": ("a.npz", npz(k=np.full((4, 3), np.nan)), "finite"),
    "infinite": ("a.npz", npz(k=np.full((4, 3), np.inf)), "finite"),
    "whole numbers": ("a.npz", npz(k=np.ones((4, 3), int)), "float"),
    "wrong rank": ("a.npz", npz(k=np.ones((2, 2, 2, 2, 2))), "k"),
    "sizes that disagree": ("a.npz", npz(k=np.ones((4, 3)), v=np.ones((5, 2))), "v"),
    "a decay that grows": ("a.npz", npz(**GOOD, g=np.ones(4)), "g"),
    "no token": ("a.npz", npz(k=np.ones((0, 3))), "token"),
    "no keys": ("a.npz", npz(x=np.ones((4, 3))), "k"),
    "a pickle": ("a.npz", npz(k=np.array([{"a": 1}], dtype=object)), "a.npz"),
    "cut short": ("a.npz", npz(**GOOD)[:200], "a.npz"),
    "empty": ("a.npz", b"", "a.npz"),
    "ragged rows": ("a.csv", b"k0,k1\n1,2\n3\n", "a.csv"),
    "words": ("a.csv", b"k0,k1\n1,two\n", "a.csv"),
    "no safetensors": ("a.safetensors", b"\xff" * 64, "a.safetensors"),
}


@pytest.mark.parametrize(("name", "data", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_file_is_a_sentence_and_a_good_one_still_works(
    lab: Callable[..., AppTest], name: str, data: bytes, says: str
) -> None:
    at = lab(**{"from": "arrays"})
    give(at, (name, data))
    assert len(sentences(at)) == 1
    assert says in sentences(at)[0]
    assert len(sentences(at)[0]) < 400
    give(at, ("good.npz", npz(**GOOD)))
    assert sentences(at) == []


def test_going_back_to_the_upload_before_needs_no_second_upload(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("one.npz", npz(**GOOD)))
    first = linked(at)
    give(at, ("two.npz", npz(k=np.eye(3))))
    assert linked(at)["file"] == "two.npz"
    at.query_params.clear()
    for name, value in first.items():
        at.query_params[name] = value
    well(at.run())
    assert sentences(at) == []
    assert not at.info
    assert any("In use: one" in element.value.replace("\\", "") for element in at.caption)


def test_uploads_kept_do_not_grow_without_end(lab: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_UPLOADED", 200)
    at = lab(**{"from": "arrays"})
    for size in (3, 4, 2):
        give(at, (f"{size}.npz", npz(k=np.eye(size))))
    kept = at.session_state[session.SESSION].uploads.values()
    assert [upload.arrays["k"].shape for upload in kept] == [(4, 4), (2, 2)]


def test_what_a_visitor_gave_before_is_let_go_with_a_sentence(
    lab: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MOST_UPLOADED", 100)
    at = lab(**{"from": "arrays"})
    give(at, ("3.npz", npz(k=np.eye(3))))
    assert not said(at, "for a visitor")
    give(at, ("4.npz", npz(k=np.eye(4))))
    assert said(at, "160 MB of arrays for a visitor")


def said(at: AppTest, part: str) -> list[str]:
    return [element.value for element in at.caption if part in element.value]


def test_the_bytes_of_a_file_are_dropped_and_it_still_counts_beside_the_next(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    k, v = np.eye(3), np.arange(6.0).reshape(3, 2)
    give(at, ("k.npy", npy(k)))
    kept = at.session_state[session.SESSION]
    (file,) = at.session_state[kept_key(at)]
    assert file.getvalue() == b""
    before = {one.key: one for one in kept.given.given}
    assert list(before) == [file.file_id]
    # What Streamlit reports when a second file is added: the first, without its bytes, and the second.
    again = uploads.together([before[file.file_id], uploads.look("v.npy", npy(v))])
    np.testing.assert_array_equal(again.arrays["k"], k)
    np.testing.assert_array_equal(again.arrays["v"], v)


def kept_key(at: AppTest) -> str:
    return f"upload-{at.session_state[session.SESSION].visitor}"


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_files_that_the_server_let_go_are_asked_for_again(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("mine.npz", npz(**GOOD)))
    kept = at.session_state[session.SESSION]
    uploads.let_go(kept.uploads[kept.choice.files])
    well(at.number_input(key="start").set_value(1).run())
    assert [element.value for element in at.info if "let go of yours" in element.value]
    assert linked(at)["start"] == "1"


DUMP = {f"layers.{i}.linear_attn.{name}": (1.0 + i) * np.random.default_rng(i).normal(size=(1, 6, 3, 4))
        for i in (0, 1) for name in ("k", "v")}  # fmt: skip
DUMP |= {"input_ids": np.arange(6), "odd": np.ones((1, 6, 3, 5))}


def test_a_dump_of_layers_is_listed_and_read_layer_by_layer_as_the_link_says(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("dump.npz", npz(**DUMP)))
    assert "names" not in linked(at)
    (listed,) = [table.value for table in at.dataframe if "use" in table.value]
    assert list(listed["name"]) == list(DUMP)
    assert listed["sizes"][0] == "1 x 6 x 3 x 4"
    assert listed["use"][4].startswith("left: expected float16")
    assert said(at, "1 sequence, 6 tokens, 3 heads, 4 key channels, 4 value channels")
    assert at.selectbox(key="layer").options == ["layers.0.linear\\_attn", "layers.1.linear\\_attn"]
    well(at.selectbox(key="layer").set_value("layers.1.linear_attn.k").run())
    assert linked(at)["names"] == "k:layers.1.linear_attn.k"
    assert at.selectbox(key="array-v").value == "layers.1.linear_attn.v"
    np.testing.assert_array_equal(stream(at).v, DUMP["layers.1.linear_attn.v"][0, :, 0])
    well(at.selectbox(key="array-v").set_value("odd").run())
    assert linked(at)["names"] == "k:layers.1.linear_attn.k~v:odd"
    np.testing.assert_array_equal(stream(at).v, np.ones((6, 5)))
    other = lab(**linked(at))
    give(other, ("dump.npz", npz(**DUMP)))
    assert linked(other) == linked(at)
    assert other.selectbox(key="array-v").value == "odd"
    assert other.selectbox(key="layer").value == "layers.1.linear_attn.k"
    np.testing.assert_array_equal(stream(other).v, np.ones((6, 5)))
    well(other.selectbox(key="layer").set_value("layers.0.linear_attn.k").run())
    assert "names" not in linked(other)


def stream(at: AppTest) -> Stream:
    kept = at.session_state[session.SESSION]
    return compute.picture(kept.choice, kept.uploads[kept.choice.files]).scenario.stream


def test_the_order_of_axes_is_changed_with_one_control(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    k = np.random.default_rng(0).normal(size=(1, 6, 5, 4))
    give(at, ("k.npz", npz(k=k)))
    assert said(at, "1 sequence, 6 tokens, 5 heads")
    well(at.selectbox(key="axes").set_value("BHTK").run())
    assert said(at, "1 sequence, 6 heads, 5 tokens")
    np.testing.assert_array_equal(stream(at).k, k[0, 0])
    assert linked(at)["axes"] == "BHTK"


def test_one_click_leads_from_all_heads_to_one(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays", "see": "heads"})
    give(at, ("dump.npz", npz(**DUMP)))
    table = table_of_heads(at)
    assert list(table.value["head"]) == [0, 1, 2]
    assert list(table.value["here"]) == ["shown", "", ""]
    at.session_state[table.key] = {"selection": {"rows": [2], "columns": [], "cells": []}}
    well(at.run())
    assert linked(at)["head"] == "2"
    assert at.number_input(key="head").value == 2
    np.testing.assert_array_equal(stream(at).v, DUMP["layers.0.linear_attn.v"][0, :, 2])
    assert list(table_of_heads(at).value["here"]) == ["", "", "shown"]
    well(at.number_input(key="head").set_value(1).run())
    assert list(table_of_heads(at).value["here"]) == ["", "shown", ""]


def table_of_heads(at: AppTest) -> Any:
    (table,) = [element for element in at.dataframe if str(element.key).startswith("heads-")]
    return table


def test_only_arrays_have_heads_to_compare(lab: Callable[..., AppTest]) -> None:
    at = lab(see="heads", **SMALL)
    assert sentences(at) == []
    assert "see" not in linked(at)


def test_a_csv_with_a_header_is_shown(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("tokens.csv", b"k0,k1,v0,g\n1,0,1,-0.1\n0,1,2,-0.1\n"))
    assert sentences(at) == []


def test_a_head_that_is_not_there_is_a_sentence(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("mine.npz", npz(k=np.ones((1, 4, 2, 3)))))
    well(at.number_input(key="head").set_value(1).run())
    assert sentences(at) == []
    well(at.number_input(key="head").set_value(2).run())
    assert len(sentences(at)) == 1
    assert "head" in sentences(at)[0].lower()


def test_the_lineage_shows_every_row() -> None:
    def page() -> None:
        from app.views import rules

        rules.page()

    at = well(AppTest.from_function(page, default_timeout=60).run())
    said = " ".join(element.value for element in (*at.markdown, *at.caption))
    for row in LINEAGE:
        assert row.title in said
        assert row.summary in said
        assert row.source.place in said
        assert str(row.year) in said
    assert said.count(r"$\displaystyle ") >= 2 * len(RULES)


def test_an_error_of_ours_is_a_sentence_without_its_details() -> None:
    def page() -> None:
        from app.main import unexpected

        unexpected(RuntimeError("a secret of the server"))

    at = well(AppTest.from_function(page, default_timeout=60).run())
    assert len(at.error) == 1
    assert "secret" not in at.error[0].value


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_server_imports_neither_torch_nor_triton() -> None:
    code = "import sys; from app.views import lab, rules, ways; from app import compute; "
    code += "from app.choice import Choice; ways.lab(), ways.tour(), ways.lineage(), ways.derivations(); "
    code += "compute.picture(Choice()); print(sorted({'torch', 'triton', 'sympy'} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def test_importing_the_entry_neither_runs_the_page_nor_starts_a_process() -> None:
    code = "import subprocess; subprocess.Popen = None; from app.views import lab; lab.page = None; "
    assert run(code + "from app import main; print(type(main.app).__name__)").strip() == "App"


HEADS = {"k": np.random.default_rng(0).normal(size=(1, 6, 4, 3)) / 2}


def window(at: AppTest) -> dict[str, int]:
    return {name: at.number_input(key=name).value for name in ("head", "batch", "start", "length", "channels")}


def test_the_window_that_a_link_names_is_kept_for_its_file(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("heads.npz", npz(**HEADS)))
    for name, value in (("head", 3), ("start", 2), ("length", 3), ("channels", 2)):
        well(at.number_input(key=name).set_value(value).run())
    chosen, query = window(at), linked(at)
    assert query["head"] == "3"

    again = lab(**query)
    give(again, ("damaged.npz", b"PK nothing"))  # what cannot be read takes nothing away
    assert linked(again) == query
    give(again, ("other.npz", npz(k=np.eye(3))))
    assert window(again) == dict.fromkeys(chosen, 0)  # another file has another window
    give(again, ("heads.npz", npz(**HEADS)))
    assert sentences(again) == []
    assert linked(again) == query
    assert window(again) == chosen
    kept = again.session_state[session.SESSION]
    picture = compute.picture(kept.choice, kept.uploads[kept.choice.files])
    np.testing.assert_array_equal(picture.scenario.stream.k, HEADS["k"][0, 2:5, 3, :2])


def grey(at: AppTest) -> bool:
    return any("greyed out" in element.value for element in at.caption)


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


def test_the_last_good_picture_stays_under_a_head_that_is_not_there(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("heads.npz", npz(**HEADS)))
    well(at.number_input(key="head").set_value(4).run())
    assert len(sentences(at)) == 1
    assert grey(at)


def test_a_step_of_zero_is_taken(lab: Callable[..., AppTest]) -> None:
    at = lab(rules="mamba", delta="0", **SMALL)
    assert sentences(at) == []
    assert not shown(at).trajectory.states.any()  # every token is ignored


def test_gates_that_every_token_brings_are_greyed_out_and_said(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays", "rules": "mamba.gated-deltanet"})
    give(at, ("mine.npz", npz(**GOOD, g=-np.ones(4), beta=np.ones(4))))
    gates = {name: at.slider(key=name).disabled for name in ("alpha", "beta", "write")}
    assert gates == {"alpha": True, "beta": True, "write": True}
    assert not at.number_input(key="delta").disabled
    said = [element.value for element in at.caption if "bring their own" in element.value]
    assert said == ["The tokens bring their own decay α, erase gate β and write gate w: what is set here does not act."]
    give(at, ("less.npz", npz(**GOOD)))
    assert not at.slider(key="alpha").disabled
    assert not [element for element in at.caption if "bring their own" in element.value]


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
