"""What is saved: names that every file system takes, tables that no spreadsheet runs, and a picture's words."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import compute, export, link, uploads
from app.choice import OPENING, Choice, Origin, TableRow
from gdn_core.lab.scenarios import Settings

KEYS = np.random.default_rng(5).normal(size=(2, 9, 3, 4))
SMALL = Settings(dk=4, dv=3, T=5)


def of_arrays(
    file: str = "dump.npz", array: str = "layers.3.linear_attn.k", **window: Any
) -> tuple[Choice, uploads.Upload]:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{array: KEYS, "layers.3.linear_attn.beta": np.full((2, 9, 3), 0.25)})
    upload = uploads.read([(file, buffer.getvalue())])
    return Choice(origin=Origin.ARRAYS, files=upload.files, rules=("gated-deltanet",), **window), upload


def named(choice: Choice, upload: uploads.Upload | None = None) -> str:
    return export.name(choice, compute.picture(choice, upload))


def test_files_of_arrays_are_named_after_file_layer_head_and_window() -> None:
    assert named(*of_arrays(head=2, start=3, length=4)) == "dump_layers-3-linear_attn-k_head-2_tokens-3-to-6"
    assert named(*of_arrays(array="k", batch=1)) == "dump_sequence-1_head-0_tokens-0-to-8"
    choice, upload = of_arrays(head=1, start=2)
    assert export.title(choice, compute.picture(choice, upload)) == (
        "dump.npz, layers.3.linear_attn.k, head 1, tokens 2 to 8"
    )


def test_files_of_anything_else_are_named_after_where_the_tokens_come_from() -> None:
    assert named(Choice(preset="overwrite", settings=SMALL)) == "overwrite"
    assert named(Choice(origin=Origin.TEXT, settings=SMALL)) == "text"
    assert named(Choice(origin=Origin.TABLE, settings=SMALL)) == "table"


@pytest.mark.parametrize(
    "file", ["con.npz", "..\\a:b*?.npz", "\u202egnp.npz", ".npz.npz", "层" * 150 + ".npz", "a\n\x00b.npz"]
)
def test_no_file_system_refuses_a_name(file: str) -> None:
    name = named(*of_arrays(file, array="a b.k"))
    assert re.fullmatch(r"[\w-]+", name)
    assert len(f"{name}_t-255.html".encode()) < 255
    assert name.partition(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt1"}


def saved(label: str) -> dict[str, str]:
    choice = Choice(origin=Origin.TABLE, table=(TableRow("a", "b", label=label),), rules=("deltanet",), settings=SMALL)
    data = export.csv(choice, compute.picture(choice)).decode()
    (row,) = csv.DictReader(io.StringIO(data, newline=""))
    return row


@pytest.mark.parametrize(
    "label",
    ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1", '=SUM("x")', "-inf", "=-3"],
)
def test_no_label_is_a_formula_in_a_spreadsheet(label: str) -> None:
    assert export.cell(label) == f"'{label}"


@pytest.mark.parametrize("label", ["a = b", "1-2", "-3", "+2.5e-3", "-0.", "é", "", "’=1"])
def test_a_label_that_is_no_formula_stays_as_it_is(label: str) -> None:
    assert export.cell(label) == label


def test_labels_of_a_file_are_no_formulas_and_its_numbers_are_numbers() -> None:
    row = saved("=cmd|' /C calc'!A0")
    assert row["label"] == "'=cmd|' /C calc'!A0"
    assert all(float(row[name]) >= 0 for name in ("token", "|w v|", "|S|", "effective rank"))


def test_a_negative_number_of_a_file_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = Choice(settings=SMALL, rules=("deltanet",))
    shown = compute.picture(choice)
    monkeypatch.setattr(compute, "numbers", lambda *_: [{"label": "-x", "|S|": -1.5}])
    assert export.csv(choice, shown).decode() == "label,|S|\n'-x,-1.5\n"


def test_a_picture_says_its_rules_with_their_gates() -> None:
    table = (TableRow("a", "b", beta=0.5, alpha=0.25), TableRow("c", "d", beta=1.0, alpha=0.75))
    rules = ("gated-deltanet", "linear-attention", "retnet")
    choice = Choice(origin=Origin.TABLE, table=table, rules=rules, settings=replace(SMALL, spread=0.0))
    caption = export.caption(choice, compute.picture(choice), "http://a.b/")
    gated, linear, retnet = caption.rules
    assert gated.equation == "Sₜ = αₜ Sₜ₋₁ (I − βₜ kₜ kₜᵀ) + βₜ vₜ kₜᵀ"
    assert gated.gates == "αₜ from 0.25 to 0.75, βₜ from 0.5 to 1"
    assert linear.gates == "no gates"
    assert retnet.gates.startswith("γ = 0.")


def test_arrays_bring_the_gates_that_a_picture_says() -> None:
    choice, upload = of_arrays()
    (line,) = export.caption(choice, compute.picture(choice, upload), "").rules
    assert line.gates == "αₜ = 0.98, βₜ = 0.25"


@given(st.sampled_from(["", "javascript:alert(1)", "ftp://host/x", "data:text/html,x", "//host/x"]))
def test_only_a_page_of_the_web_is_linked(page: str) -> None:
    assert link.address(page, OPENING) == ""


def test_the_link_of_a_picture_opens_it_at_a_token() -> None:
    assert link.address("http://a.b:80", OPENING).startswith("http://a.b:80/?")
    for choice in (OPENING, Choice(origin=Origin.TEXT, text="a = b\nc = d & e"), Choice(half_life=3.0, token=4)):
        address = link.address("https://a.b/lab?from=x#y", choice)
        assert address.startswith("https://a.b/lab?")
        assert "from=x" not in address
        back, sentences = link.from_query(parse_qs(urlsplit(f"{address}&t=2").query))
        assert sentences == []
        assert back.numbers() == choice.numbers()
        assert back.token == 2
