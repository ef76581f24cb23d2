"""The lab with a visitor's own files, by AppTest: they are shown, linked to, kept, and let go with a sentence."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import compute, session, uploads
from gdn_core.streams import Stream
from tests.app.lab_page import SMALL, grey, linked, sentences, well


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


def test_where_no_name_says_which_array_holds_the_keys_the_page_says_where_to_say_it(
    lab: Callable[..., AppTest],
) -> None:
    at = lab(**{"from": "arrays", "rules": "linear-attention"})
    give(at, ("dump.npz", npz(first=GOOD["k"], second=GOOD["v"])))
    assert len(sentences(at)) == 1
    assert any("Which array is which" in element.value for element in at.caption)
    (fold,) = (one for one in at.expander if one.label == "Which array is which")
    assert fold.proto.expanded
    well(at.selectbox(key="array-k").set_value("first").run())
    well(at.selectbox(key="array-v").set_value("second").run())
    assert sentences(at) == []
    assert not any("Which array is which" in element.value for element in at.caption)


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


def test_the_last_good_picture_stays_under_a_head_that_is_not_there(lab: Callable[..., AppTest]) -> None:
    at = lab(**{"from": "arrays"})
    give(at, ("heads.npz", npz(**HEADS)))
    well(at.number_input(key="head").set_value(4).run())
    assert len(sentences(at)) == 1
    assert grey(at)


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
