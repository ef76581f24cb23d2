"""Lesson: the second failure of an additive memory, old and new at equal weight."""

from __future__ import annotations

import numpy as np

from app.choice import Choice, Origin, TableRow
from app.compute import Picture
from app.lessons.frame import Lesson, Lit, Numbers, OneOf, Range, Step, many, on_table, said
from app.reel.panels import Bars, Curves, Line, Map, Maps, Reel
from gdn_core import RULES
from gdn_core.lab.answers import answers, shares_of, signed
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import recency as study

TITLES = tuple(RULES[slug].title for slug in study.RULES_COMPARED)
DECAY = "Decay α of Mamba-2 and Gated DeltaNet, a token"
ALPHA = Range(name="alpha", label=DECAY, low=0.5, high=1.0, step=0.05, start=0.8)
SLOW = Range(name="alpha", label=DECAY, low=0.9, high=1.0, step=0.01, start=0.97)
BETA = Range(name="beta", label="Gate β of DeltaNet and Gated DeltaNet", low=0.0, high=1.0, step=0.1, start=1.0)
NAMES = {"linear-attention": "linear attention", "deltanet": "DeltaNet", "mamba-2": "Mamba-2, α = 0.5"}
GAP = Range(name="gap", label="Tokens from the first write to the second", low=1, high=7, step=1, start=2)
RULE = OneOf(name="rule", label="Rule", options=NAMES, start="linear-attention")


def _again(gap: int) -> Choice:
    """Return eight pairs with keys at right angles, but that one token writes the first key again; all ask for it."""
    keys = [f"[{', '.join('1' if n == t else '0' for n in range(8))}]" for t in range(8)]
    names = {0: "first value", gap: "second value"}
    rows = tuple(
        TableRow(keys[t * (t != gap)], names.get(t, f"value {t}"), keys[0], label=names.get(t, "another key"))
        for t in range(8)
    )
    size = Settings(dk=8, dv=8, alpha=1.0)
    return Choice(origin=Origin.TABLE, table=rows, rules=("linear-attention",), settings=size)


def _watch(picture: Picture, gap: int) -> list[str]:
    run, scenario = picture.trajectory, picture.scenario
    happens = {0: "The key is stored with its first value.", gap: "The key is stored again, with its second value."}
    shares = shares_of(answers(run, scenario.rows, scenario.labels), (0, gap))[0]
    return [
        f"{happens.get(t, 'Another key is stored.')} Asked for the key, the memory answers with the share {signed(a)} "
        f"of its first value and {signed(b)} of its second."
        for t, (a, b) in enumerate(shares)
    ]


def _draw_orders(numbers: Numbers, rule: str) -> Reel:
    told = []
    for order, difference in zip(numbers["orders"].tolist(), numbers["difference"], strict=True):
        last = max((4, 5), key=order.index) + 1
        apart = "exactly 0" if difference == 0 else said(difference)
        told.append(
            f"Written in the order {', '.join(str(i + 1) for i in order)}: pairs 5 and 6 have one key, and {last} came "
            f"last. Largest difference from the memory of the order 1 to 6: {apart}."
        )
    memory = numbers["memory"]
    panel = Maps(
        title=f"The memory after all six pairs: {RULES[rule].title}", rows="value channels", columns="key channels",
        maps=(Map(name="in this order", values=memory), Map(name="in the order 1 to 6", values=memory[0])), small=220,
    )
    ticks = tuple(str(n + 1) for n in range(len(told)))
    return Reel(panels=(panel,), counts="order", ticks=ticks, said=tuple(told))


def _draw_weights(numbers: Numbers, alpha: float, beta: float) -> Reel:
    writes, weights = numbers["writes"], numbers["weights"]
    told = [
        f"{many(n, 'value')} under one key. Weights of the oldest and the newest: "
        + "; ".join(f"{title} {said(w[0, r])} and {said(w[n - 1, r])}" for r, title in enumerate(TITLES)) + "."
        for n, w in zip(writes, weights, strict=True)
    ]
    bars = Bars(
        title="Weight of each value in the answer", groups=tuple(map(str, writes)), names=TITLES, values=weights,
        y_title="weight", bottom=0.0, top=1.0,
    )
    return Reel(panels=(bars,), counts="values written", ticks=tuple(map(str, writes)), said=tuple(told), start=1)


def _draw_long(numbers: Numbers, alpha: float) -> Reel:
    marks, error, norm = numbers["tokens"], numbers["error"], numbers["norm"]
    told = [
        f"After {many(n, 'token')} linear attention answers the newest value with an error of {said(e[0])}, and its "
        f"memory has the size {said(m[0])}. Gated DeltaNet's error is {said(e[3])}, and its size {said(m[3])}."
        for n, e, m in zip(marks, error, norm, strict=True)
    ]

    def curves(title: str, y: np.ndarray, y_title: str, log: str) -> Curves:
        dashes = ("solid", "dash", "dot", "dashdot")
        lines = tuple(Line(name=name, y=y[:, r], colour=r, dash=dashes[r]) for r, name in enumerate(TITLES))
        return Curves(title=title, x=marks, lines=lines, x_title="tokens", y_title=y_title, at=marks, log=log)

    panels = (
        curves("Error of the newest value: 1 is an empty memory", error, "error", "x"),
        curves("Size of the memory", norm, "size", "xy"),
    )
    return Reel(panels=panels, counts="tokens", ticks=tuple(f"{n:,}" for n in marks), said=tuple(told), start=30)


LESSON = Lesson(
    slug="recency", title="Failure two: no recency", about="Old and new at equal weight, whatever the order.",
    steps=(
        Step(
            slug="twice", title="The same key twice", controls=(GAP,),
            question="The first key is stored again some tokens later, with a **new** value. Does the old value weigh "
            "less the longer ago it was?",
            equation=("S_t k =", Lit("v_{\\text{old}} + v_{\\text{new}}")),
            where="Linear attention, and keys at right angles. The sum holds both values whole, whenever they came: "
            "each has the share 0.50 of the answer.",
            claims=("additive_memory_forgets_the_order",), watch=_watch, token=2,
            stream=_again,
        ),
        Step(
            slug="order", title="Shuffle the past", controls=(RULE,),
            question="Six pairs are written in twelve different orders. Which of these memories knows the order?",
            equation=("S_T =", Lit(r"\sum_{t=1}^{T} v_t k_t^\top")),
            where="Linear attention. A sum is the same in every order: nothing in it says what came last.",
            claims=("additive_memory_forgets_the_order",), numbers=study.in_other_orders, picture=_draw_orders,
            stream=lambda rule: on_table(study.six_pairs(), rule),
        ),
        Step(
            slug="weights", title="How much does the past weigh?", controls=(ALPHA, BETA),
            question="One key gets twelve values, one after the other. What is the weight of the **first** in the "
            "answer after the twelfth?",
            equation=(
                r"S_T k = \sum_{t=1}^{T}", Lit(r"\Bigl(\prod_{s=t+1}^{T} \alpha_s (1 - \beta_s)\Bigr)"), r"\beta_t v_t",
            ),
            where="A key of length 1. DeltaNet has α = 1. Mamba-2 and linear attention erase nothing, so 1 − β is left "
            "out, and they write v whole. Linear attention has α = 1 too: each of its weights is 1.",
            claims=("write_weighs_the_decays_since", "key_answers_a_mean_and_orthogonal_keys_are_left_alone"),
            numbers=study.weights_of_writes, picture=_draw_weights,
            stream=lambda alpha, beta: on_table(study.one_key(alpha, beta), *study.RULES_COMPARED),
        ),
        Step(
            slug="long", title="Ten thousand tokens", controls=(SLOW,),
            question="Eight keys get new values all the time. What has become of each memory after 10,000 tokens?",
            equation=(r"\lVert S_T k - v_T \rVert \approx", Lit(r"\sqrt{T / 8}")),
            where="Linear attention. Its answer holds all earlier values of the key, about T/8 in random "
            "directions. The size of a memory is the root of the sum of its squared entries.",
            claims=("additive_memory_forgets_the_order", "new_value_replaces_the_old_only_under_the_delta_rule"),
            numbers=study.long_stream, picture=_draw_long,
            stream=lambda alpha: on_table(study.ten_thousand(alpha).window(0, 100), *study.RULES_COMPARED),
            lab="The first hundred tokens in the lab",
        ),
    ),
)  # fmt: skip
