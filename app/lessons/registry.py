"""The lessons in their order, and which of them shows a claim."""

from __future__ import annotations

from app.lessons import (
    attention,
    chunkwise,
    collision,
    compose,
    convolution,
    delta,
    errata,
    gated,
    gating,
    knob,
    layer,
    lineage,
    linear,
    ode,
    one_equation,
    recency,
    selective,
    softmax,
)
from app.lessons.frame import Lesson, Step

ORDER = (
    lineage,
    softmax,
    linear,
    collision,
    recency,
    ode,
    knob,
    convolution,
    selective,
    gating,
    delta,
    one_equation,
    gated,
    chunkwise,
    attention,
    layer,
    compose,
    errata,
)

#: By their slugs. A lesson that is not written is not listed.
LESSONS: dict[str, Lesson] = {module.LESSON.slug: module.LESSON for module in ORDER}


def showing(claim: str) -> list[tuple[Lesson, Step]]:
    """Return the steps that rest on a claim."""
    return [(lesson, step) for lesson in LESSONS.values() for step in lesson.steps if claim in step.claims]
