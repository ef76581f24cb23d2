"""Where a visitor is in the tour: a lesson, a step, and the values of its controls; as a link and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from app import link
from app.lessons.frame import Control, Lesson, Range, Step, Value
from app.lessons.registry import LESSONS
from gdn_core.ops.checks import check_choice, shown


@dataclass(frozen=True)
class Place:
    """A step of a lesson, with the values of its controls.

    Args:
        lesson, step: their slugs.
        values: of the step's controls, by name and in their order.

    Raises:
        ValueError: if there is none, or a value is out of its range.
    """

    lesson: str
    step: str
    values: tuple[tuple[str, Value], ...]

    def __post_init__(self) -> None:
        steps = {step.slug: step for step in LESSONS[check_choice("lesson", self.lesson, LESSONS)].steps}
        for name, value in self.values:
            steps[check_choice("step", self.step, steps)].control(name).check(value)

    @property
    def at(self) -> tuple[Lesson, Step]:
        """The lesson and the step."""
        lesson = LESSONS[self.lesson]
        return lesson, lesson.step(self.step)

    def with_values(self, changed: Mapping[str, Value]) -> Place:
        """Return the same step with other values of some controls."""
        return replace(self, values=tuple((name, changed.get(name, value)) for name, value in self.values))

    def beside(self, by: int) -> Place | None:
        """Return the place so many steps on, or back; None past the ends of the tour."""
        number = PATH.index((self.lesson, self.step)) + by
        return self.leading_to(*PATH[number]) if 0 <= number < len(PATH) else None

    def leading_to(self, lesson: str, step: str) -> Place:
        """Return another step; within a lesson a control that both steps have keeps its value."""
        other, here = starting(lesson, step), self.at[1]
        if lesson != self.lesson:
            return other
        kept = {control.name for control in other.at[1].controls if control in here.controls}
        return other.with_values({name: value for name, value in self.values if name in kept})


#: Every step of the tour, in order.
PATH = [(lesson.slug, step.slug) for lesson in LESSONS.values() for step in lesson.steps]


def starting(lesson: str, step: str = "") -> Place:
    """Return a step, or the first of a lesson, as it starts."""
    found = LESSONS[lesson].step(step or LESSONS[lesson].steps[0].slug)
    return Place(lesson, found.slug, tuple(found.start.items()))


FIRST = starting(*PATH[0])


def to_query(place: Place) -> dict[str, str]:
    """Write a place as the fields of a link; the first place of the tour needs none."""
    if place == FIRST:
        return {}
    start = place.at[1].start
    return {"lesson": place.lesson, "step": place.step} | {
        name: str(value) for name, value in place.values if value != start[name]
    }


def from_query(query: Mapping[str, str]) -> tuple[Place, list[str]]:
    """Read a link.

    Returns:
        A place, and one sentence for each field that was unknown or invalid; such a field keeps its default.
    """
    given = {name: value for name, value in query.items() if name not in link.RESERVED}
    sentences: list[str] = []

    def known(name: str, options: Mapping[str, object], otherwise: str) -> str:
        value = given.pop(name, otherwise)
        if value in options:
            return value
        few = ", ".join(options)
        sentences.append(f"The link's field {name!r} was left out: expected one of {few}, got {shown(value)}.")
        return otherwise

    lesson = LESSONS[known("lesson", LESSONS, FIRST.lesson)]
    step = lesson.step(known("step", {step.slug: step for step in lesson.steps}, lesson.steps[0].slug))
    place = starting(lesson.slug, step.slug)
    for control in step.controls:
        if control.name not in given:
            continue
        try:
            value = read(control, given.pop(control.name))
        except ValueError as error:
            reason = str(error).removeprefix(f"{control.name}: ").rstrip(".")
            sentences.append(f"The link's field {control.name!r} was left out: {reason}.")
        else:
            place = place.with_values({control.name: value})
    if given:
        few = ", ".join(map(shown, list(given)[: link.MOST_NAMED]))
        sentences.append(f"The link has fields that this step does not know, left out: {few}.")
    return place, sentences


def read(control: Control, text: str) -> Value:
    """Read the value of a control.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(control, Range):
        return control.check(link.whole(text) if isinstance(control.step, int) else link.number(text))
    return control.check(text)
