"""Lesson: the whole project in a sentence, and the lineage as a map."""

from __future__ import annotations

from urllib.parse import urlencode

import numpy as np

from app import link
from app.choice import Choice
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, named, on_table, said
from app.reel.panels import Curves, Edge, Graph, Line, Map, Maps, Node, Reel
from gdn_core.lab.answers import answers, shares_of, signed
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import lineage as study
from gdn_core.rules import LINEAGE, RULES

#: The column and the row of each on the map: attention at the left, equations in time at the right.
PLACES = {
    "softmax-attention": (0, 0), "fast-weights": (1, 0), "s4": (3, 1), "linear-attention-normalised": (0, 1),
    "linear-attention": (1, 1), "mamba": (3, 2), "retnet": (2, 2), "deltanet": (1, 3), "mamba-2": (2, 3), "gla": (3, 4),
    "longhorn": (0, 3), "efla": (0, 4), "gated-deltanet": (1, 4), "exact-gated-delta": (0, 5),
    "kimi-delta-attention": (1, 5), "gated-deltanet-2": (2, 6),
}  # fmt: skip
SHORT = {"linear-attention-normalised": "Linear attention, normalised", "s4": "S4"}
EXACT, LIMIT, NEITHER = DASHES = ("solid", "dash", "dot")
INSIDE, ALONG = "wider_rules_contain_the_narrower_ones", "delta_rules_are_steps_along_one_equation"
#: How two rules are related, what the second adds, and the claim about it, in the order of the edges of the study.
ABOUT = (
    (EXACT, "the same sum of writes, found again in 1992 and 2020", "fast_weights_are_linear_attention"),
    (NEITHER, "the exponential gives way to a product of features, so that the past fits into one matrix",
     "linear_attention_is_recurrent_parallel_and_chunkwise"),
    (NEITHER, "the division by the sum of weights goes, and answers grow with the number of writes",
     "dropping_the_normaliser_makes_another_model"),
    (EXACT, "one constant decay: recent tokens weigh more, and all of the past fades", INSIDE),
    (EXACT, "the decay comes from the token, which may keep or clear everything", INSIDE),
    (EXACT, "a decay for each key channel: some columns last, others fade", INSIDE),
    (EXACT, "the step comes from the token, which may be ignored; the convolution is lost",
     "s4_is_mamba_with_a_fixed_step"),
    (EXACT, "one rate for the whole memory: less choice, and training by matrix products",
     "state_space_model_is_a_write_rule"),
    (NEITHER, "what the key answers is erased before the write: a new value replaces the old",
     "new_value_replaces_the_old_only_under_the_delta_rule"),
    (NEITHER, "an implicit step: no gate and no key is too large", ALONG),
    (NEITHER, "the exact solution in place of one step", ALONG),
    (EXACT, "a decay: what no new write touches can be forgotten too", INSIDE),
    (LIMIT, "the delta rule: one key is edited, the others stay", "gated_deltanet_contains_mamba2_only_in_the_limit"),
    (EXACT, "a decay within the exact step", "exact_gated_step_solves_the_gated_equation"),
    (NEITHER, "the exact solution in place of decay, then edit",
     "decay_then_edit_erases_exactly_and_writes_to_first_order"),
    (EXACT, "a decay for each key channel", INSIDE),
    (EXACT, "an erase gate: what a key answers may be taken away first", INSIDE),
    (EXACT, "erase and write get gates of their own", INSIDE),
)  # fmt: skip
ALPHA = Range(name="alpha", label="Decay α", low=0.5, high=1.0, step=0.05, start=0.9)
BETA = Range(name="beta", label="Gate β", low=0.0, high=1.0, step=0.1, start=1.0)
NARROW = OneOf(name="narrow", label="Narrower rule", options={x: named(x) for x in study.PAIRS}, start="deltanet")
FOUR = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")


def _stream(*rules: str, alpha: float = 0.9, beta: float = 1.0) -> Choice:
    return Choice(preset="overwrite", rules=rules, settings=Settings(dk=8, dv=8, T=8, alpha=alpha, beta=beta))


def _title(slug: str) -> str:
    return SHORT.get(slug) or next(row.title for row in LINEAGE if row.slug == slug)


def _watch(picture: Picture, alpha: float, beta: float) -> list[str]:
    run, rows, labels = picture.trajectory, picture.scenario.rows, picture.scenario.labels
    shares = shares_of(answers(run, rows, labels), (0, again := len(labels) // 2))
    happens = {0: "The key is stored with its first value.", again: "The key is stored again, with its second value."}
    told = []
    for t, four in enumerate(shares.swapaxes(0, 1)):
        each = "; ".join(f"{named(slug)} {signed(a)} and {signed(b)}" for slug, (a, b) in zip(FOUR, four, strict=True))
        told.append(f"{happens.get(t, 'Another key is stored.')} Shares of its two values in the answer: {each}.")
    return told


def _draw_map(numbers: Numbers) -> Reel:
    told, places = [], list(PLACES)
    for (a, b), off, (kind, adds, claim) in zip(study.EDGES, numbers["difference"], ABOUT, strict=True):
        alike = {EXACT: "On gates that make them alike they differ by", NEITHER: "Neither is the other: they differ by",
                 LIMIT: "They are alike only in the limit of short keys; here they differ by"}[kind]  # fmt: skip
        by = f"{'an exponential' if np.isnan(off) else said(off)} (claim: {claim.replace('_', ' ')})"
        told.append(f"From {_title(a)} to {_title(b)}: {adds}. {alike} {by}.")
    nodes = tuple(
        Node(name=_title(slug), x=x, y=y, link="./?" + urlencode(link.to_query(_stream(slug))) if slug in RULES else "")
        for slug, (x, y) in PLACES.items()
    )
    edges = tuple(Edge(start=places.index(a), end=places.index(b), dash=kind)
                  for (a, b), (kind, *_) in zip(study.EDGES, ABOUT, strict=True))  # fmt: skip
    meanings = ("one is the other at special gates", "only in a limit", "neither is the other")
    panel = Graph(title="Who adds what to whom: press a box to open it in the lab", nodes=nodes, edges=edges,
                  lit=np.arange(len(edges)), dashes=tuple(zip(DASHES, meanings, strict=True)))  # fmt: skip
    ticks = tuple(f"{n} of {len(edges)}" for n in range(1, len(edges) + 1))
    return Reel(panels=(panel,), counts="arrow", ticks=ticks, said=tuple(told))


def _draw_inside(numbers: Numbers, narrow: str) -> Reel:
    wide, turned = study.PAIRS[narrow]
    letter, gate, off = "α" if turned == "g" else "β", numbers["gate"], numbers["difference"]
    told = [f"With {letter} = {said(x)} the memories differ by {said(d, least=1e-12)} at most."
            for x, d in zip(gate, off, strict=True)]  # fmt: skip
    told[-1] += f" Here {named(wide)} is {named(narrow)}." if off[-1] < 1e-12 else " Nothing is written any more."
    maps = Map(name=_title(wide), values=numbers["wider"]), Map(name=_title(narrow), values=numbers["narrower"])
    chart = Curves(title="Largest difference", x=gate, lines=(Line(name="difference", y=off),), x_title=letter,
                   y_title="difference", at=gate, bottom=0.0)  # fmt: skip
    panel = Maps(title="The two memories", maps=maps, rows="value channels", columns="key channels", small=130)
    return Reel(panels=(chart, panel), counts=letter, ticks=tuple(map(said, gate)), said=tuple(told), start=6)


LESSON = Lesson(
    slug="lineage", title="One memory, many rules", about="A sentence for all of them, and the lineage as a map.",
    steps=(
        Step(
            slug="sentence", title="The whole project in one sentence", controls=(ALPHA, BETA),
            question="**Let the memory fade, look up what the key answers, take that away, write the new value.** Four "
            "rules do more or less of this. The key of the first token comes again in the middle: who answers what?",
            equation=("S_t =", Lit(r"\alpha_t S_{t-1}"), Lit(r"(I - \beta_t k_t k_t^\top)"), r"+ \beta_t v_t k_t^\top"),
            where="A text is a row of tokens, say words. Each has a key k and a value v: columns of numbers, whose "
            "places are channels. The memory S, a matrix, answers S k to a key. Adding v kᵀ stores v under k: (v kᵀ) "
            "k = v for a key of length 1. α is the decay, β the gate, t the token. The bracket is the erase: linear "
            "attention has none and α = 1, Mamba-2 has none, DeltaNet has α = 1.",
            claims=(INSIDE, "stages_add_up_to_the_step"), watch=_watch, token=4,
            stream=lambda alpha, beta: _stream(*FOUR, alpha=alpha, beta=beta),
        ),
        Step(
            slug="map", title="The lineage as a map",
            question="Each arrow leads to a rule that came of another. What does it **add**, and is the older rule "
            "still inside the newer one?",
            equation=(r"\text{wider rule} \,\big|_{\text{special gates}}", Lit("="), r"\text{narrower rule}"),
            where="Both rules of an arrow run on one stream. Where one should be inside the other, gates are set so. A "
            "difference of 0 is measured now, and the claim proves it for every size. All equations are below.",
            claims=tuple(dict.fromkeys(claim for *_, claim in ABOUT)), numbers=study.along_the_edges, picture=_draw_map,
            lineage=True, stream=lambda: on_table(study.stream_of(), *FOUR), lab="Its tokens in the lab",
        ),
        Step(
            slug="inside", title="One rule inside another", controls=(NARROW,),
            question="Turn one gate of a wider rule: α up to 1, or β down to 0. Is it the narrower rule **exactly**?",
            equation=("S_t =", Lit(r"\alpha_t"), r"S_{t-1} (I -", Lit(r"\beta_t"), r"k_tk_t^\top)+\beta_tv_tk_t^\top"),
            where="Gated DeltaNet; without the bracket and the last β it is Mamba-2. Twelve tokens have one gate. A "
            "solid arrow of the map means: at some gate both are one. But β erases and writes: 0 turns off both.",
            numbers=study.one_in_another, picture=_draw_inside,
            claims=(INSIDE, "gated_deltanet_contains_mamba2_only_in_the_limit"),
            stream=lambda narrow: on_table(study.at_a_gate(narrow, 0.8), study.PAIRS[narrow][0], narrow),
        ),
    ),
)  # fmt: skip
