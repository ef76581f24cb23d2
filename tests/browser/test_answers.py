"""What the memories answer, as pictures and in words, against the glyphs and the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from playwright.sync_api import Locator, Page, expect

from app import compute
from app.choice import OPENING
from gdn_core.lab import scenarios
from gdn_core.lab.glyphs import glyph
from tests.browser.lab_steps import frames, moments, visit

AGAIN = 8  # the token that writes the key of token 0 again
FIRST, SECOND = glyph(0).pixels.ravel(), glyph(AGAIN).pixels.ravel()  # the values of tokens 0 and 8, in order


def pixels(canvas: Locator) -> list[tuple[int, ...]]:
    """The colours of the 64 pixels of a glyph."""
    flat = canvas.evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
    assert len(flat) == 4 * 64
    return [tuple(flat[n : n + 3]) for n in range(0, len(flat), 4)]


def levels(found: list[tuple[int, ...]], ink: np.ndarray) -> dict[float, tuple[int, ...]]:
    """The one colour of each strength of ink, from faint to strong, each darker than the one before."""
    colours = {level: {found[n] for n in np.flatnonzero(ink == level)} for level in sorted(set(ink))}
    assert [len(of) for of in colours.values()] == [1] * len(colours)
    one = {level: next(iter(of)) for level, of in colours.items()}
    assert [sum(c) for c in one.values()] == sorted({sum(c) for c in one.values()}, reverse=True)
    return one


def at_the_second_write(page: Page) -> Locator:
    """Open the preset at its token, and end the demonstration that the opening page begins."""
    player = visit(page, f"preset=overwrite&t={AGAIN}")
    player.locator(".now").click()
    expect(player).not_to_have_attribute("data-moving", str(AGAIN))
    expect(player).to_have_attribute("data-token", str(AGAIN))
    return player


def test_a_key_written_twice_answers_two_pictures_on_top_of_each_other_or_the_new_one_alone(page: Page) -> None:
    player = at_the_second_write(page)
    scenario = scenarios.from_preset("overwrite")
    for rule, words, ink in (
        ("linear-attention", {"first value": 1.0, "second value": 1.0}, FIRST + SECOND),
        ("deltanet", {"second value": 1.0}, 2 * SECOND),
    ):
        o = moments(scenario.stream, rule, AGAIN).written @ scenario.stream.q[AGAIN]
        values = {"first value": scenario.stream.v[0], "second value": scenario.stream.v[AGAIN]}
        np.testing.assert_allclose(o, sum(c * values[name] for name, c in words.items()), atol=1e-12)
        answer = player.locator(f"[data-rule={rule}] .answer")
        parts = answer.inner_text().removeprefix("answers ").split(", ")
        assert sorted(parts) == [f"{name} {c / len(words):.2f}" for name, c in words.items()]
        found = levels(pixels(answer.locator("canvas")), ink)
        if rule == "linear-attention":
            whole = found[2]
            assert len(found) == 3  # none, one of the two, both
        else:
            assert found[2] == whole  # the new value at full strength, on the same scale
        things = answer.locator("canvas").get_attribute("aria-label")
        assert ("heart" in things, "moon" in things) == ("first value" in words, True)
    assert set(pixels(player.locator(".now .writes canvas"))) == set(found.values())

    faint = player.locator("[data-rule=mamba-2] .answer")
    left = 0.95**AGAIN
    player.get_by_role("button", name="Step back").click()
    expect(faint).to_have_text(f"answers first value {0.95 ** (AGAIN - 1):.2f}")
    player.get_by_role("button", name="Step forward").click()
    expect(faint).to_have_text(f"answers second value {1 / (1 + left):.2f}, first value {left / (1 + left):.2f}")


def test_every_key_written_so_far_has_its_answers_in_a_table_that_follows_the_scrubber(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    player = at_the_second_write(page)
    table = player.locator(".answers")
    expect(table).to_have_attribute("data-token", str(AGAIN))
    rows = table.locator("tbody tr:visible")
    expect(rows).to_have_count(6)
    heads = table.locator("thead th").all_inner_texts()
    assert heads == ["key", "holds", "Linear attention", "Mamba-2", "DeltaNet", "Gated DeltaNet"]
    cells = rows.first.locator("th, td").all_inner_texts()
    assert cells[0] == "key of token 0"
    assert cells[1] == "second value"
    assert sorted(cells[2].split(", ")) == ["first value 0.50", "second value 0.50"]
    assert cells[4] == cells[5] == "second value 1.00"
    cells = rows.nth(1).locator("th, td").all_inner_texts()
    assert cells == ["key of token 7", "value 7", "value 7 1.00", "value 7 0.95", "value 7 1.00", "value 7 0.95"]
    assert table.locator(".left").inner_text() == "2 earlier keys are not listed."
    picture = compute.picture(replace(OPENING, token=-1))
    for row, said in zip(rows.all(), compute.every_key(OPENING, picture, AGAIN), strict=False):
        assert row.locator("th, td").all_inner_texts() == list(said.values())  # as the panel below says it
    levels(pixels(rows.first.locator("canvas").nth(1)), FIRST + SECOND)
    box = table.bounding_box()
    assert box
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    assert table.evaluate("t => t.scrollWidth <= t.clientWidth")
    player.get_by_role("button", name="Step back").click()
    expect(rows.first.locator("td").first).to_have_text("value 7")
    expect(table.locator("caption")).to_contain_text("after token 7")
    assert table.locator(".left").inner_text() == "2 earlier keys are not listed."


def test_a_value_turned_round_is_drawn_in_the_other_colour(page: Page) -> None:
    made = scenarios.from_preset("parity")
    t = next(t for t in range(1, 24) if made.labels[1 : t + 1].count("1") % 2)
    player = visit(page, f"preset=parity&t={t}")
    frames(page, 2)
    answer = player.locator("[data-rule=deltanet] .answer")
    expect(answer).to_have_text("answers on −1.00")
    for rule, more in (("linear-attention", 0), ("deltanet", 2)):  # red, blue
        found = pixels(player.locator(f"[data-rule={rule}] .answer canvas"))
        ink = [found[n] for n in np.flatnonzero(FIRST)]
        assert all(colour[more] > colour[2 - more] for colour in ink)
