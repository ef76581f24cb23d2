"""Lesson: put a rule together, and see what it can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.choice import MOST_RULES, Choice
from app.lessons import parts
from app.lessons.frame import Lesson, Numbers, Step, on_table
from app.reel.panels import Reel
from gdn_core.lab.studies import collision, gated, recency, tasks
from gdn_core.lab.studies import compose as study
from gdn_core.rules import RULES
from gdn_core.streams import Stream

BESIDE = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")  # what the lab shows with the own rule
INSIDE, STAGES = "wider_rules_contain_the_narrower_ones", "stages_add_up_to_the_step"


def claims_of(**choice: Any) -> Numbers:
    """Check the claims as the page of the derivations does, in a process of its own."""
    from app import proofs  # brings SymPy, which the lab's page need not wait for

    return proofs.ledger().check_composed(**choice)


claims_of.__module__ = "derivations.composed"  # where what runs in that process is written


def _step(
    slug: str, title: str, question: str, numbers: Callable[..., Numbers], picture: Callable[..., Reel],
    claims: tuple[str, ...], stream: Callable[[], Stream], waits: str = "",
) -> Step:  # fmt: skip
    def lab(**choice: Any) -> Choice:
        named = study.names(**choice)
        own = [slug for slug, rule in RULES.items() if rule.title in named]
        return on_table(stream(), *list(dict.fromkeys([*own, *BESIDE]))[:MOST_RULES])

    return Step(
        slug=slug, title=title, question=question, controls=parts.PARTS, composes=True, equation=parts.equation,
        where=parts.where, claims=claims, numbers=numbers, picture=picture, stream=lab, waits=waits,
    )  # fmt: skip


LESSON = Lesson(
    slug="compose", title="Compose a rule", about="Decay, erase, write: four choices, and what they can do.",
    steps=(
        _step("parts", "Four choices", "A rule decays, here by 0.8, erases and writes. Which choices make Gated "
              "DeltaNet, and which a rule that nobody has published?", study.stages, parts.draw_stages,
              (INSIDE, STAGES), study.first_stream),
        _step("collision", "More pairs than channels", "48 pairs with random keys, in 16 channels; a decay is 0.98. "
              "Which choices make the error smaller, and which can never?", study.on_collision, parts.draw_collision,
              ("more_pairs_than_channels_cannot_all_be_recalled",),
              lambda: collision.stream_of(collision.keys_of("random", collision.CHANNELS), alpha=0.98)),
        _step("recency", "One key, twelve values", "One key is written twelve times; a decay is 0.9, and β 0.5. Which "
              "choices let the newest value count for more?", study.on_recency, parts.draw_recency,
              ("write_weighs_the_decays_since",), lambda: recency.one_key(alpha=0.9, beta=0.5)),
        _step("facts", "A change of subject", "The subject changes at pair 30, where a decay is about 0.1 and not "
              "0.99, and one fact gets a new value at pair 36. Which choices clear, and which edit?", study.on_facts,
              parts.draw_facts, (INSIDE, STAGES), lambda: gated.facts(alpha=0.1)),
        _step("claims", "What holds for it", "All that is claimed of rules with these parts is run now, with its wrong "
              "variants. How much of it holds?", claims_of, parts.draw_claims,
              ("every_rule_has_a_chunk_form", "micro_steps_of_a_token_are_one_product",
               "separate_removal_keys_are_two_tokens_of_the_family"), study.first_stream, "Checking the claims"),
        _step("tasks", "To beat", "Remember twelve pairs in 16 channels, and forget on command. Which is the smallest "
              "rule that beats all seven tasks?", tasks.beaten, parts.draw_tasks, (INSIDE,), tasks.to_forget),
    ),
)  # fmt: skip
