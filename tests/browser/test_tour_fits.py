"""What of a step is seen at once: the stages of four rules on a laptop, and where one is in the tour on a phone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from app.lessons.place import starting
from app.lessons.registry import LESSONS
from tests.browser.lab_steps import frames
from tests.browser.test_tour import NARROW, WIDE, visit

# How far the stages reach below the upper edge of the bar that moves through the tokens, in pixels.
HIDDEN = """player => Math.max(...[...player.querySelectorAll('.moments .frame')]
  .map(e => e.getBoundingClientRect().bottom)) - player.querySelector('.transport').getBoundingClientRect().top"""
OVER = """() => {
  const range = document.createRange();
  range.selectNodeContents(document.querySelector('h1'));
  const [title, number] = [range, document.querySelector('.st-key-where [data-testid=stCaptionContainer] p')]
    .map(e => e.getBoundingClientRect());
  return title.right > number.left && title.top < number.bottom && number.top < title.bottom;
}"""


def test_all_stages_of_four_rules_are_seen_on_a_laptop_and_the_number_of_the_lesson_on_a_phone(page: Page) -> None:
    page.set_viewport_size(WIDE)
    player = visit(page, starting("gated", "tokens"))
    assert player.evaluate(HIDDEN) <= 0

    page.set_viewport_size(NARROW)
    longest = max(LESSONS.values(), key=lambda lesson: len(lesson.title))
    visit(page, starting(longest.slug))
    frames(page, 3)
    number = list(LESSONS).index(longest.slug) + 1
    expect(page.get_by_text(f"Lesson {number} of {len(LESSONS)}")).to_be_visible()
    assert not page.evaluate(OVER)
