"""Make the pictures of the README: ``./run picture``.

The app is started and opened in Chromium, once in light and once in dark colours. The lab's player is saved token by
token as an animated WebP. The recall chart and a claim on the derivations page are saved as still pictures. The chart
of the benchmark is drawn from ``docs/speed.json``.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from docs import speed
from tests.benchmarks.served import chromium, server

FOLDER = Path(__file__).parent / "pictures"
MOST_BYTES = 2_000_000  # of one picture: what a phone loads without waiting
WIDTH = 760  # CSS pixels of the window, which a README shows without shrinking it
SCALE = 2.0  # device pixels for each, so that text is sharp
LAB = "?preset=overwrite&rules=linear-attention.gated-deltanet&dv=8"
STEP, HOLD = 450, 1800  # ms for a token, and for one that should be seen longer
CHART = "?rules=linear-attention.gated-deltanet"
CLAIM = "gated_chunk_equals_recurrence"
EDGE = 12  # CSS pixels around a picture
LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 100, "method": 4}
WAIT = 300_000  # ms: an interpreter on a busy machine
READY = """document.querySelector('[data-testid=stBidiComponentIsolated]')
    ?.shadowRoot?.querySelector('section.player[data-ready]')"""
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main() -> int:
    """Write every picture, and say how large each is."""
    FOLDER.mkdir(exist_ok=True)
    speed.main()
    with server() as app, chromium() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(
                viewport={"width": WIDTH, "height": 1400}, device_scale_factor=SCALE, color_scheme=scheme
            )
            lab(page, app.url, FOLDER / f"lab-{scheme}.webp")
            chart(page, app.url, FOLDER / f"recall-{scheme}.webp")
            claim(page, app.url, FOLDER / f"claim-{scheme}.webp")
            page.close()
    large = [path for path in FOLDER.iterdir() if path.stat().st_size > MOST_BYTES]
    for path in sorted(FOLDER.iterdir()):
        sys.stdout.write(f"{path.stat().st_size / 1000:8.0f} kB  {path.relative_to(Path.cwd())}\n")
    if large:
        sys.stderr.write(f"larger than {MOST_BYTES} bytes: {', '.join(path.name for path in large)}\n")
    return 1 if large else 0


def lab(page: Any, url: str, to: Path) -> None:
    """Save the player at every token of a stream in which one key is written twice."""
    page.goto(f"{url}/{LAB}")
    page.wait_for_function(READY, timeout=WAIT)
    player = page.locator("section.player")
    tokens = int(player.locator(".scrubber").get_attribute("max")) + 1
    again = tokens // 2  # the key of token 0 is written again
    frames, milliseconds = [], []
    for t in range(tokens):
        player.evaluate("(player, t) => player.seek(t)", t)
        page.evaluate(DRAWN)
        frames.append(shot(page, *framed(player.bounding_box())))
        milliseconds.append(HOLD if t in (0, again, tokens - 1) else STEP)
    frames[0].save(to, save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, **LOSSLESS)


def claim(page: Any, url: str, to: Path) -> None:
    """Save a claim with its statement and verdict, after the server has checked all claims."""
    page.goto(f"{url}/derivations")
    page.get_by_role("heading", name="Errata").wait_for(timeout=WAIT)
    page.get_by_text("is checking them now").wait_for(state="detached", timeout=2 * WAIT)
    page.goto(f"{url}/derivations?claim={CLAIM}")
    page.get_by_role("button", name="Check it now").click(timeout=WAIT)
    page.get_by_text("just now").wait_for(timeout=WAIT)
    page.mouse.move(0, 0)
    page.wait_for_function("document.fonts.status === 'loaded'")
    top = page.get_by_role("heading").first.bounding_box()
    below = page.get_by_role("heading", name="Assumed").or_(page.get_by_role("heading", name="Steps")).first
    shot(page, *framed(top | {"height": below.bounding_box()["y"] - top["y"] - EDGE})).save(to, **LOSSLESS)


def chart(page: Any, url: str, to: Path) -> None:
    """Save the recall chart below the player."""
    page.goto(f"{url}/{CHART}")
    drawn = page.locator(".js-plotly-plot .main-svg").first
    drawn.wait_for(timeout=WAIT)
    drawn.scroll_into_view_if_needed()
    page.evaluate(DRAWN)
    shot(page, *framed(page.locator(".js-plotly-plot").first.bounding_box())).save(to, **LOSSLESS)


def framed(box: dict[str, float]) -> tuple[float, float, float, float]:
    """Return x, y, width and height of a box with an edge around it."""
    return box["x"] - EDGE, box["y"] - EDGE, box["width"] + 2 * EDGE, box["height"] + 2 * EDGE


def shot(page: Any, x: float, y: float, width: float, height: float) -> Image.Image:
    """Take a screenshot of a part of the page."""
    clip = {"x": x, "y": y, "width": width, "height": height}
    return Image.open(io.BytesIO(page.screenshot(clip=clip, animations="disabled"))).convert("RGB")


if __name__ == "__main__":
    sys.exit(main())
