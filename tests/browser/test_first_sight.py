"""What a first visit sees, and what follows the scrubber: in words, in the charts, on a phone."""

from __future__ import annotations

import json

import numpy as np
from playwright.sync_api import Page, expect

from gdn_core.lab import scenarios
from tests.browser.lab_steps import expect_link, frames, moments, press, settle, unfold, visit

AGAIN = 8  # the token that writes the key of token 0 again


def test_a_first_visit_sees_the_same_key_written_twice_in_motion_and_in_words(own_page: Page) -> None:
    page = own_page  # of its own, since a script runs first
    page.set_viewport_size({"width": 1366, "height": 768})
    page.emulate_media(reduced_motion="no-preference")
    page.add_init_script(DRAWN)
    sent: list[bytes | str] = []
    page.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
    player = visit(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("One memory, four ways to write")
    assert page.title().startswith("Write-rule lab")
    expect(player).to_have_attribute("data-moving", str(AGAIN))
    seen = player.evaluate(
        """player => new Promise(done => {
            const seen = new Set();
            const watch = new MutationObserver(() => {
                seen.add(player.querySelector(".large-name").textContent);
                if (seen.size >= 4) watch.disconnect(), done([...seen].sort());
            });
            watch.observe(player, { subtree: true, childList: true, characterData: true });
        })"""
    )
    assert seen == ["S after token 7", "S after token 8", "decayed, token 8", "erased, token 8"]
    transport = player.locator(".transport").bounding_box()
    assert transport
    card = player.locator("[data-rule=gated-deltanet]")
    for part in ("decayed", "taken", "added"):  # the terms of the equation
        caption = card.locator(f"[data-moment={part}] figcaption").bounding_box()
        assert caption
        assert caption["y"] + caption["height"] <= transport["y"]  # above the fold: the transport lies at its lower end
    numbers = card.locator(".numbers").bounding_box()
    assert numbers
    assert numbers["y"] + numbers["height"] <= transport["y"]
    player.locator(".now").click()
    expect(player).not_to_have_attribute("data-moving", str(AGAIN))
    expect(player).to_have_attribute("data-token", str(AGAIN))
    expect_link(page, {})
    page.locator(".js-plotly-plot").wait_for()
    drawn, asked = page.evaluate(
        """[window.drawn,
            performance.getEntriesByType("resource").find(({ name }) => name.includes("PlotlyChart")).startTime]"""
    )
    assert drawn <= asked  # what draws the charts does not hold up the picture
    assert any(b"drawn" in frame for frame in sent if isinstance(frame, bytes))  # nobody waited longer than that

    scenario = scenarios.from_preset("overwrite")
    values = np.stack([scenario.stream.v[0], scenario.stream.v[AGAIN]])
    for rule in ("linear-attention", "deltanet"):
        memory = moments(scenario.stream, rule, AGAIN).written
        found = np.linalg.lstsq(values.T, memory @ scenario.stream.q[AGAIN], rcond=None)[0]
        want = np.abs(found) / np.abs(found).sum()
        named = {"first value": want[0], "second value": want[1]}
        said = player.locator(f"[data-rule={rule}] .answer").inner_text()
        parts = said.removeprefix("answers ").split(", ")
        assert {part.rsplit(" ", 1)[0]: float(part.rsplit(" ", 1)[1]) for part in parts} == {
            name: round(share, 2) for name, share in named.items() if share >= 0.05
        }
    player.get_by_role("button", name="Step back").click()
    player.get_by_role("button", name="Step forward").click()
    said = player.locator(".said")
    expect(said).to_contain_text("token 8: the key → second value; the key of token 0 again")
    expect(said).to_contain_text("Linear attention, Mamba-2 add; DeltaNet, Gated DeltaNet replace")


def test_a_term_lights_its_thumbnail_and_the_other_way_round(page: Page) -> None:
    player = visit(page, "preset=overwrite&rules=gated-deltanet")
    expect(player.locator(".equation")).to_have_text("S ← α S − β α S k kᵀ + β v kᵀ")
    for pointed, lit in ((".term", ".stage"), (".stage", ".term")):
        player.locator(f"{pointed}[data-stage=erase]").hover()
        expect(player.locator(f"{lit}.lit")).to_have_attribute("data-stage", "erase")


def test_charts_have_a_line_at_the_token_and_a_click_in_one_moves_the_player(page: Page) -> None:
    player = visit(page, "preset=overwrite&see=size")
    chart = page.locator(".js-plotly-plot")
    chart.wait_for()
    scrubber = player.locator(".scrubber")
    scrubber.focus()
    scrubber.press("Home")
    for _ in range(5):
        scrubber.press("ArrowRight")
    line = chart.locator(".token-line")
    expect(line).to_have_count(2)
    expect(line.first).to_have_attribute("data-token", "5")
    chart.evaluate("chart => chart.scrollIntoView({ block: 'center' })")
    frames(page, 10)
    place = chart.evaluate(
        """chart => {
            const { left, top } = chart.querySelector(".svg-container").getBoundingClientRect();
            const { xaxis, yaxis } = chart._fullLayout._plots.xy;
            return [left + xaxis._offset + xaxis.l2p(11), top + yaxis._offset + yaxis._length / 2];
        }"""
    )
    page.mouse.click(*place)
    expect(player).to_have_attribute("data-token", "11")
    expect(line.first).to_have_attribute("data-token", "11")
    settle(page)
    expect_link(page, {"preset": "overwrite", "see": "size", "t": "11"})
    press(page, "Recall")
    expect(line).to_have_count(4)
    expect(line.first).to_have_attribute("data-token", "11")


# Notes when the player first has a picture.
DRAWN = """(() => {
    const look = () => {
        const hosts = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")];
        const there = hosts.some(host => host.shadowRoot?.querySelector("section.player[data-ready]"));
        if (there) window.drawn = performance.now();
        else requestAnimationFrame(look);
    };
    look();
})()"""
SMALL = """(root, targets) => [...root.querySelectorAll(targets)]
    .map(e => [e.getAttribute("aria-label") || e.className, e.getBoundingClientRect()])
    .filter(([, r]) => r.width && (r.height < 44 || r.width < 44)).map(([name]) => name)"""


def test_a_phone_sees_picture_and_controls_together_and_all_of_it_works_by_touch(phone: Page) -> None:
    page = phone
    player = visit(page)
    for part in (".large .frame >> nth=0", ".scrubber", ".play", ".forward"):
        box = player.locator(part).bounding_box()
        assert box
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844, part
    assert player.evaluate(SMALL, "button, select, summary, .scrubber") == []
    player.locator(".forward").tap()
    expect(player).to_have_attribute("data-token", "9")
    scrubber = player.locator(".scrubber").bounding_box()
    assert scrubber
    page.touchscreen.tap(scrubber["x"] + scrubber["width"] / 3, scrubber["y"] + scrubber["height"] / 2)
    expect(player).to_have_attribute("data-token", "5")

    player.locator(".term[data-stage=write]").first.tap()
    expect(player.locator(".stage.lit").first).to_have_attribute("data-stage", "write")

    page.get_by_test_id("stExpandSidebarButton").tap()
    sidebar = page.get_by_test_id("stSidebar")
    unfold(page, touch=True)
    noise = page.get_by_test_id("stNumberInput").filter(has_text="Noise")
    noise.get_by_role("button", name="Help").tap()
    expect(page.get_by_text("The length of random noise on each key")).to_be_visible()
    assert sidebar.evaluate(SMALL, "button, a, summary, [role=group], .stNumberInput input") == []
    picture = player.get_attribute("data-ready")
    noise.get_by_test_id("stNumberInputStepUp").tap()
    expect(player).not_to_have_attribute("data-ready", picture)
    expect(sidebar).to_have_attribute("data-collapsed", "true")  # it closes, so that the new picture is seen

    for panel in ("Spectrum", "Recall"):
        page.get_by_role("radio", name=panel, exact=True).tap()
        chart = page.locator(".js-plotly-plot")
        title = page.get_by_text({"Spectrum": "eigenvalue", "Recall": "after token"}[panel], exact=True).first
        expect(title).to_be_visible()
        height = chart.evaluate("chart => chart.getBoundingClientRect().height")
        assert 300 <= height <= 844 / 2, panel
        assert chart.evaluate("chart => chart._fullLayout.height") == height
    chart.scroll_into_view_if_needed()
    frames(page, 10)
    assert chart.evaluate("chart => chart._fullLayout.dragmode") is False
    ranges = "chart => JSON.stringify(chart._fullLayout.xaxis.range)"
    before, box = chart.evaluate(ranges), chart.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 3, min(box["y"] + 200, 600)
    touch = page.context.new_cdp_session(page)
    main = page.get_by_test_id("stMain")
    top = main.evaluate("main => main.scrollTop")
    for kind, dy in (("touchStart", 0), *(("touchMove", -20 * n) for n in range(1, 11))):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y + dy}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    frames(page, 20)
    assert chart.evaluate(ranges) == before
    assert main.evaluate("main => main.scrollTop") != top, json.dumps(box)


def test_a_fifth_rule_takes_the_place_of_the_first(page: Page) -> None:
    player = visit(page, "preset=overwrite")
    page.get_by_test_id("stMultiSelect").get_by_role("combobox").click()
    page.get_by_role("option", name="RetNet", exact=True).click()
    expect(player.locator(".rule h2")).to_have_text(["Mamba-2", "DeltaNet", "Gated DeltaNet", "RetNet"])
    page.get_by_role("option", name="Mamba", exact=True).click()  # the menu is still open
    expect(player.locator(".rule h2")).to_have_text(["DeltaNet", "Gated DeltaNet", "RetNet", "Mamba"])
    expect_link(page, {"preset": "overwrite", "rules": "deltanet.gated-deltanet.retnet.mamba"})
