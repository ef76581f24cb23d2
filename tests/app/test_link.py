"""What a visitor may choose, and how it goes into a link and comes out again."""

import base64
import json
import math
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import choice as choices
from app import link
from app.choice import OPENING, Choice, File, Origin, Panel, Stage, TableRow
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS, Reading, Settings
from gdn_core.rules import RULES, Discretisation

names = st.text(st.characters(exclude_characters="/", exclude_categories=("Cs",)), min_size=1, max_size=20)
gates = st.none() | st.floats(0, 2)
rows = st.builds(
    TableRow, key=st.text(max_size=5), value=st.text(max_size=5), label=st.text(max_size=5), alpha=gates, beta=gates
)
settings = st.builds(
    Settings,
    dk=st.integers(1, LIMITS.channels),
    T=st.integers(1, LIMITS.tokens),
    alpha=st.floats(choices.LEAST_ALPHA, 1),
    write=st.floats(0, 2),
    noise=st.floats(0, 1),
    seed=st.integers(0, LIMITS.seed),
)
any_choice = st.builds(
    Choice,
    origin=st.sampled_from(Origin),
    preset=st.sampled_from(sorted(PRESETS)),
    text=st.text(max_size=200),
    files=st.lists(st.builds(File, names, st.from_regex(r"[0-9a-f]{16}", fullmatch=True)), max_size=3).map(tuple),
    head=st.integers(0, 9),
    channels=st.integers(0, 64),
    table=st.lists(rows, max_size=4).map(tuple),
    rules=st.lists(st.sampled_from(sorted(RULES)), min_size=1, max_size=4, unique=True).map(tuple),
    discretisation=st.sampled_from([None, *Discretisation]),
    settings=settings,
    half_life=st.none() | st.floats(*choices.HALF_LIVES),
    token=st.integers(-1, 300),
    panel=st.sampled_from(Panel),
    stage=st.sampled_from(Stage),
)


@given(any_choice)
def test_a_link_gives_the_choice_back(choice: Choice) -> None:
    back, sentences = link.from_query(link.to_query(choice))
    assert sentences == []
    # What another origin would use is not part of the link.
    assert back.numbers() == choice.numbers()
    assert (back.half_life, back.token, back.panel, back.stage) == (
        choice.half_life, choice.token, choice.panel, choice.stage,
    )  # fmt: skip
    assert link.to_query(back) == link.to_query(choice)


def test_an_untouched_page_has_an_empty_link() -> None:
    assert link.to_query(OPENING) == {}
    assert link.from_query({}) == (OPENING, [])


def test_what_a_link_without_a_preset_has_meant_it_still_means() -> None:
    assert link.to_query(Choice()) == {"preset": "collision"}
    choice, _ = link.from_query({"dk": "6"})
    assert choice.preset == "collision"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_in_a_link_brings_its_rules_and_settings(preset: str) -> None:
    choice, sentences = link.from_query({"preset": preset})
    assert sentences == []
    assert (choice.rules, choice.settings) == (PRESETS[preset].rules, PRESETS[preset].settings)


def test_a_setting_counts_whatever_its_place_in_the_link() -> None:
    first, _ = link.from_query({"T": "9", "preset": "overwrite"})
    last, _ = link.from_query({"preset": "overwrite", "T": "9"})
    assert first == last
    assert first.settings == replace(PRESETS["overwrite"].settings, T=9)


def packed(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    return base64.urlsafe_b64encode(zlib.compress(data)).decode().rstrip("=")


ABSURD = {
    "unknown": ({"colour": "red"}, "'colour'"),
    "no number": ({"dk": "many"}, "dk"),
    "empty": ({"dk": ""}, "dk"),
    "too large": ({"dk": "1000000"}, "dk"),
    "not whole": ({"T": "3.5"}, "T"),
    "negative": ({"T": "-3"}, "T"),
    "endless digits": ({"seed": "9" * 5000}, "seed"),
    "not a number": ({"alpha": "nan"}, "alpha"),
    "infinite": ({"beta": "inf"}, "beta"),
    "no decay": ({"alpha": "0"}, "alpha"),
    "less than the slider has": ({"alpha": "1e-6"}, "alpha"),
    "no half-life": ({"half-life": "0"}, "half-life"),
    "no such preset": ({"preset": "nothing"}, "preset"),
    "no such origin": ({"from": "the moon"}, "from"),
    "no such rule": ({"rules": "deltanet.gpt"}, "rules"),
    "no rule": ({"rules": ""}, "rules"),
    "five rules": ({"rules": ".".join(list(RULES)[:5])}, "rules"),
    "a rule twice": ({"rules": "deltanet.deltanet"}, "rules"),
    "no such discretisation": ({"disc": "magic"}, "disc"),
    "no such panel": ({"see": "elsewhere"}, "see"),
    "no such stage": ({"stage": "later"}, "stage"),
    "a token before the first": ({"t": "-7"}, "t"),
    "text not packed": ({"from": "text", "text": "hello world"}, "text"),
    "text cut short": ({"from": "text", "text": packed("hello world")[:-6]}, "text"),
    "text not in UTF-8": ({"from": "text", "text": packed(b"\xff\xfe\xfa")}, "text"),
    "text that swells": ({"from": "text", "text": packed("a" * 10_000_000)}, "text"),
    "text too long to read": ({"from": "text", "text": "A" * 100_000}, "text"),
    "table of no rows": ({"from": "table", "table": packed("7")}, "table"),
    "table of ragged rows": ({"from": "table", "table": packed("[[1, 2], [3]]")}, "table"),
    "table of the wrong cells": ({"from": "table", "table": packed(json.dumps([[1] * 8]))}, "table"),
    "table with an infinite gate": (
        {"from": "table", "table": packed('[["a", "b", "", 1e999, null, null, null, ""]]')},
        "table",
    ),
    "table too deep": ({"from": "table", "table": packed("[" * 100_000)}, "table"),
    "a file without its digest": ({"from": "arrays", "file": "a.npz"}, "file"),
    "a digest without its file": ({"from": "arrays", "sha": "0" * 16}, "file"),
    "a digest that is none": ({"from": "arrays", "file": "a.npz", "sha": "xyz"}, "file"),
    "two files, one digest": ({"from": "arrays", "file": "a.npy/b.npy", "sha": "0" * 16}, "file"),
}


@pytest.mark.parametrize(("query", "names"), ABSURD.values(), ids=ABSURD)
def test_an_absurd_field_gets_one_sentence_and_its_default(query: dict[str, str], names: str) -> None:
    choice, sentences = link.from_query(query)
    assert len(sentences) == 1
    assert names in sentences[0]
    assert sentences[0].endswith(".")
    assert len(sentences[0]) < 400
    good = {name: value for name, value in query.items() if name == "from" and value in list(Origin)}
    assert choice == link.from_query(good or {"preset": "collision"})[0]


def test_one_absurd_field_does_not_cost_the_others() -> None:
    choice, sentences = link.from_query({"dk": "no", "dv": "9", "seed": "4", "what": "?"})
    assert len(sentences) == 2
    assert (choice.settings.dk, choice.settings.dv, choice.settings.seed) == (Choice().settings.dk, 9, 4)


@pytest.mark.parametrize(
    ("name", "value"), [("text", "one two"), ("table", '[["a", "b", "", null, null, null, null, ""]]')]
)
def test_a_text_or_a_table_says_by_itself_where_the_tokens_come_from(name: str, value: str) -> None:
    choice, sentences = link.from_query({name: packed(value)})
    assert (choice.origin.value, sentences) == (name, [])
    choice, sentences = link.from_query({name: packed(value), "preset": "long"})
    assert (choice.origin, choice.preset) == (Origin.PRESET, "long")
    assert sentences == [f"The link's {name} was not used: its tokens are to come from the preset."]


def test_streamlit_s_own_fields_are_no_fault_of_the_visitor() -> None:
    assert link.from_query({"embed": "true", "embed_options": ["dark_theme", "show_toolbar"]}) == (OPENING, [])


def test_a_half_life_is_a_decay_that_halves() -> None:
    choice = Choice(half_life=10.0)
    assert math.isclose(choice.settings.alpha**10, 0.5)
    assert link.to_query(choice) == {"half-life": "10.0"}


def test_a_text_too_long_for_a_link_is_left_out_and_said() -> None:
    text = " ".join(f"word{i * i}" for i in range(10_000))
    choice = Choice(origin=Origin.TEXT, text=text)
    assert "text" not in link.to_query(choice)
    assert any("too long for a link" in sentence for sentence in link.left_out(choice))
    assert link.left_out(Choice(origin=Origin.TEXT, text="short and sweet")) == []


def test_how_arrays_are_read_travels_in_the_link() -> None:
    reading = Reading(names={"k": "layers.3/k é", "g": ""}, axes="BHTK", normalise=True, from_empty=True)
    choice = Choice(origin=Origin.ARRAYS, files=(File("a.npz", "0" * 16),), start=1000, reading=reading)
    query = link.to_query(choice)
    assert query["axes"] == "BHTK"
    assert query["from_empty"] == query["normalise"] == "1"
    assert query["names"] == "g:~k:layers.3/k é"
    assert link.from_query(query) == (choice, [])
    assert link.from_query(query | {"names": '{"k":"layers.3/k é","g":""}'}) == (choice, [])  # as links had it before
    odd = replace(choice, reading=Reading(names={"k": "a~b:c", "q": ""}))
    assert link.from_query(link.to_query(odd)) == (odd, [])
    bad_names = ("[", "k", "z:k", "k:a~k:b", '{"z":"k"}', '{"k":3}', "[" * 9000)
    for field, bad in (*(("names", bad) for bad in bad_names), ("axes", "KT"), ("normalise", "yes")):
        got, sentences = link.from_query(query | {field: bad})
        assert got.files == choice.files
        assert len(sentences) == 1
