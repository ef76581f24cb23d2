"""What people give that is wrong, through the page and in one visit: a sentence each time, and the next input works."""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit

import numpy as np
from playwright.sync_api import Page, expect

from app.link import pack
from gdn_core.lab.limits import LIMITS
from tests.browser.lab_steps import fill, give, npz, numbers, ours, press, settle, visit

PICTURE = "![](http://elsewhere.example/a.png)"  # Markdown that would have the reader's browser ask elsewhere
KEYS = np.eye(5, 3)
OVERFLOWING = npz(k=np.full((40, 3), 1e3), v=np.ones((40, 2)), beta=np.full(40, 2.0))


def alerts(page: Page) -> list[str]:
    """Return the sentences that the page shows as warnings and errors, without the names of their icons."""
    said = page.get_by_test_id("stAlert").all_inner_texts()
    return [re.sub(r"^(error|link_off)\s+", "", sentence) for sentence in said]


def expect_sentence(page: Page, *words: str) -> None:
    """Expect one sentence that says all of this, and nothing of the program behind it."""
    sentence = page.get_by_test_id("stAlert")
    for word in words:
        sentence = sentence.filter(has_text=word)
    expect(sentence).to_have_count(1, timeout=30_000)
    said = " ".join(alerts(page))
    assert not re.search(r"Traceback|Error\b|site-packages|File \"|0x[0-9a-f]{6}", said), said
    expect(page.get_by_test_id("stException")).to_have_count(0)


def write(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Your text")
    box.fill(text)
    box.press("Control+Enter")


def test_whatever_is_given_gets_a_sentence_and_the_next_input_works(page: Page, errors: list[str]) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    # A link with unknown, missing and absurd values.
    visit(page, f"dk=-5&T=1e9&rules=&{quote(PICTURE)}=1&preset={quote(PICTURE)}&seed=3")
    assert len(alerts(page)) == 5
    expect_sentence(page, "dk", f"1 to {LIMITS.channels}", "-5")
    expect_sentence(page, "does not know", PICTURE)  # as it stands
    expect_sentence(page, "preset", PICTURE)

    # Texts.
    press(page, "Text")
    expect(page.get_by_role("textbox", name="Your text")).to_be_visible()
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    write(page, "")
    expect_sentence(page, "expected some words", "empty")
    write(page, "hello")
    expect_sentence(page, "at least two words", "'hello'")
    write(page, "word " * 50_000)
    expect_sentence(page, "expected at most 200,000 characters, got 250,000")
    write(page, "same " * 200)
    expect(page.get_by_text("One word only: every token stores the same pair again.")).to_be_visible(timeout=60_000)
    write(page, "مرحبا 👩‍👩‍👧 שלום <b>b</b> $x$ " + "spam " * 10_000)
    expect(page.get_by_text("Windowed: the first 257 of")).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)

    # Arrays: what cannot be read, what cannot be run, and a good file after each, beside the bad one.
    press(page, "Arrays")
    expect_sentence(page, "Choose a file of arrays")
    give(page, "dump.pt", b"PK\x03\x04")
    expect_sentence(page, "dump.pt", "This line converts it", "dump.safetensors")
    give(page, "whole.npz", npz(k=np.ones((4, 3), int)))
    expect_sentence(page, "whole.npz", "integers")
    give(page, "ragged.csv", b"k0,k1\n1,2\n3\n")
    expect_sentence(page, "ragged.csv", "line 3", "expected 2 cells")
    give(page, "good.npz", npz(k=KEYS))
    expect(page.get_by_text("In use: good.npz")).to_be_visible(timeout=60_000)
    settle(page)
    give(page, "growing.npz", npz(k=KEYS, g=np.ones(5)))
    expect_sentence(page, "log decays", "at most 0")
    give(page, "again.npz", npz(k=2 * KEYS))  # the decay of the file before must not act on these keys
    expect(page.get_by_text("In use: again.npz")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("g is log(0.95)")).to_be_visible()
    settle(page)
    give(page, "large.npz", OVERFLOWING)
    expect(page.get_by_text("DeltaNet overflows float32 at token").first).to_be_visible(timeout=60_000)
    settle(page)
    for panel in ("Recall", "Norm and rank", "Numbers and files"):
        press(page, panel)
        settle(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)

    # Sources changed faster than the server follows.
    for source in ("Text", "Table", "Preset", "Arrays", "Table", "Preset", "Text", "Preset"):
        press(page, source)
    expect(page.get_by_test_id("stSelectbox").filter(has_text="Preset").first).to_be_visible(timeout=60_000)
    settle(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    page.wait_for_function("!new URLSearchParams(location.search).has('from')")

    # Words of a link in captions and labels.
    visit(page, f"from=text&t=0&text={pack(f'{PICTURE} = b')}")
    expect(page.get_by_text(f"{PICTURE[:10]}").first).to_be_attached()
    home = urlsplit(page.url).netloc
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {home}
    assert ours(errors) == []


def test_the_last_good_picture_stays_grey_under_the_sentence(page: Page) -> None:
    player = visit(page, "from=text&rules=mamba")
    picture, good = page.locator(".st-key-picture"), player.get_attribute("data-ready")
    expect(picture).to_have_css("opacity", "1")
    write(page, "")
    expect_sentence(page, "expected some words")
    expect(picture).to_have_css("opacity", "0.85")
    expect(page.locator(".st-key-under-the-player")).to_have_css("opacity", "0.85")
    expect(player).to_have_attribute("data-ready", good)
    said, shown = page.get_by_test_id("stAlert").bounding_box(), picture.bounding_box()
    assert said and shown and said["y"] + said["height"] <= shown["y"]
    write(page, "sun = hot")
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    expect(picture).to_have_css("opacity", "1")
    expect(player).not_to_have_attribute("data-ready", good)

    fill(page, "Step Δ", "0")  # every token is ignored, and that is no fault
    page.wait_for_function("new URLSearchParams(location.search).get('delta') === '0.0'")
    settle(page)
    expect(page.get_by_test_id("stAlert")).to_have_count(0)
    expect(picture).to_have_css("opacity", "1")
    assert not numbers(player, "mamba", "written").any()
