"""Dumps of models in the browser: a head of many, a token far into the stream, names of their own, and the link."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Locator, Page, expect

from tests.browser.lab_steps import choose, fill, give, number, numbers, press, quiet, settle

T, H, C, HEAD, TOKEN = 5000, 16, 128, 9, 4000
RULES = "linear-attention.gated-deltanet"


def dump(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write a dump of two layers as a model's names and sizes are, and return head 9 of the second."""
    rng = np.random.default_rng(0)
    k, v = (rng.standard_normal((1, T, H, C), np.float32).astype(np.float16) for _ in range(2))
    with path.open("wb") as file:
        np.savez(
            file,
            allow_pickle=False,
            input_ids=np.arange(T),
            **{"layers.0.attn.k": k[:, :4, :, :8], "layers.0.attn.v": v[:, :4, :, :8]},
            **{"layers.3.attn.k": k, "layers.3.attn.v": v},
        )
    return k[0, :, HEAD].astype(float), v[0, :, HEAD].astype(float)


def memories(k: np.ndarray, v: np.ndarray, alpha: float, beta: float) -> dict[str, np.ndarray]:
    """What linear attention and Gated DeltaNet hold after TOKEN, of keys normalised as fla does, in float64."""
    k = k / np.sqrt((k * k).sum(axis=1, keepdims=True) + 1e-6)
    gated = np.zeros((C, C))
    for t in range(TOKEN + 1):
        gated *= alpha
        gated += beta * np.outer(v[t] - gated @ k[t], k[t])
    return {"linear-attention": v[: TOKEN + 1].T @ k[: TOKEN + 1], "gated-deltanet": gated}


def agree(player: Locator, want: dict[str, np.ndarray]) -> None:
    for rule, memory in want.items():
        got = numbers(player, rule, "written").reshape(C, C)
        assert abs(got - memory).max() <= 1e-5 * abs(memory).max(), rule


def test_head_9_at_token_4000_of_a_dump_is_right_and_its_link_shows_a_colleague_the_same(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "dump.npz"
    want = memories(*dump(path), alpha=0.95, beta=0.5)
    link = {"from": "arrays", "rules": RULES, "alpha": 0.95, "beta": 0.5, "length": 8, "normalise": 1}
    page.goto("/?" + urlencode(link | {"file": path.name, "sha": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}))
    uploader = page.get_by_test_id("stFileUploaderDropzoneInput")
    uploader.set_input_files(path)
    player = settle(page)
    choose(page, "Layer", "layers.3.attn")
    settle(page)
    fill(page, "First token", str(TOKEN))
    fill(page, "Head", str(HEAD))
    expect(page.get_by_text("1 sequence, 5,000 tokens, 16 heads, 128 key channels").first).to_be_visible()
    expect(page.get_by_text("computed from the 4,000 tokens before")).to_be_visible()
    expect(page.get_by_text("Lengths of the keys shown:")).to_be_visible()
    settle(page)
    player.get_by_role("slider").first.press("Home")
    expect(player).to_have_attribute("data-token", "0")
    agree(player, want)
    page.wait_for_function("new URLSearchParams(location.search).get('t') === '0'")  # the player reports after a rest
    settle(page)
    query = page.evaluate("location.search")
    assert "names=k%3Alayers.3.attn.k&" in query

    page.goto("about:blank")
    page.goto(f"/{query}")
    expect(page.get_by_text("Choose in the controls the file")).to_be_visible()
    uploader.set_input_files(path)
    player = settle(page)
    expect(player).to_have_attribute("data-token", "0")
    agree(player, want)
    assert page.evaluate("location.search") == query


def test_from_all_heads_the_keyboard_leads_to_one(page: Page) -> None:
    x = {name: np.random.default_rng(i).normal(size=(1, 9, 3, 4)) for i, name in enumerate("kv")}
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **x)
    page.goto("/?from=arrays&rules=linear-attention")
    give(page, "heads.npz", file.getvalue())
    player = settle(page)
    press(page, "All heads")
    expect(page.get_by_text("Select a row to see that head above")).to_be_visible()
    quiet(page)
    page.get_by_test_id("stDataFrame").filter(visible=True).click(position={"x": 200, "y": 60})
    for key in ("ArrowDown", "Shift+Space"):
        page.keyboard.press(key)
    expect(number(page, "Head")).to_have_value("1")
    settle(page)
    memory = x["v"][0, :, 1].T @ x["k"][0, :, 1]
    np.testing.assert_allclose(numbers(player, "linear-attention", "written").reshape(4, 4), memory, atol=1e-5)
