"""Lesson: the first failure of an additive memory, more pairs than key channels."""

from __future__ import annotations

from app.choice import Choice
from app.compute import Picture
from app.lessons import recall
from app.lessons.frame import Lesson, Lit, OneOf, Range, Step, many, on_table, said
from gdn_core import metrics
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.studies import collision as study

CHANNELS = Range(name="channels", label="Key channels d: the columns of the memory", low=2, high=16, step=1, start=8)
FOUR = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")  # in the lab
BETA = Range(name="beta", label="Erase and write gate β of DeltaNet", low=0.0, high=1.0, step=0.1, start=1.0)
KEYS = OneOf(name="keys", label="Keys", options={"orthogonal": "orthogonal", "random": "random"}, start="random")
ALPHA = Range(name="alpha", label="Decay α of the rules that have one", low=0.9, high=1.0, step=0.01, start=0.98)


def _stream(*rules: str, channels: int, T: int) -> Choice:
    return Choice(preset="collision", rules=rules, settings=Settings(dk=channels, dv=8, T=T, alpha=1.0))


def _watch(picture: Picture, channels: int) -> list[str]:
    added, replaced = metrics.recall_error(picture.trajectory)
    return [
        f"After {many(t + 1, 'pair')} in {channels} columns the answer to the first key has an error of "
        f"{said(added[t, 0])} under linear attention and {said(replaced[t, 0])} under DeltaNet. For the newest key it "
        f"is {said(added[t, t])} and {said(replaced[t, t])}."
        for t in range(len(added))
    ]


LESSON = Lesson(
    slug="collision", title="Failure one: collision", about="A memory of d columns, and more than d pairs.",
    steps=(
        Step(
            slug="first", title="One pair too many", controls=(CHANNELS,),
            question="Each token stores a pair, and asks for the **first** key again. One memory only adds, the "
            "other corrects itself. What do they answer to the first key once there are more pairs than columns?",
            equation=("S_t = S_{t-1} +", Lit(r"v_t k_t^\top,"), r"\quad o_t = S_t q_t"),
            where="S is the memory, v the value stored under the key k, q the key that is asked for, o the answer. "
            "The line is that of linear attention, which only adds. DeltaNet first takes away what the key answers. "
            "The error is how far an answer is from the value, over the value's length: 1 for no answer.",
            claims=("memory_answers_the_value_and_the_overlaps",), watch=_watch,
            stream=lambda channels: _stream("linear-attention", "deltanet", channels=channels, T=2 * channels),
        ),
        Step(
            slug="overlaps", title="Where the error comes from", controls=(KEYS, CHANNELS),
            question="The first key was stored alone, and was answered exactly. How much of the values stored "
            "**later** is in its answer now?",
            equation=("S_t k_1 = v_1 +", Lit(r"\sum_{j=2}^{t} (k_j \cdot k_1) \, v_j")),
            where="Keys have length 1. The overlap of two keys is their inner product: 0 at right angles, 1 if equal.",
            claims=("memory_answers_the_value_and_the_overlaps",),
            numbers=study.answer_to_the_first, picture=recall.draw_overlaps,
            stream=lambda keys, channels: on_table(
                study.stream_of(study.keys_of(keys, channels), 1.0), "linear-attention", "deltanet"),
        ),
        Step(
            slug="rules", title="Every rule, and the best that is possible", controls=(KEYS, ALPHA),
            question="Can a better rule keep more pairs than the memory has columns? Guess where each curve leaves "
            "zero, then move on.",
            equation=(r"\min_S \tfrac{1}{n} \sum_i \lVert S k_i - v_i \rVert^2 \;\approx\;", Lit(r"1 - \tfrac{d}{n}")),
            where="The least that any matrix S of d columns, 16 here, can reach for n random values; up to n = d it "
            "is 0. In theory adding has (n − 1) / d: the squared overlap of two random keys is 1/d on average, and "
            "each key has n − 1 others. The rules are those of the map in lesson 1. Some only add; some let the "
            "memory fade by α a token; some erase what the key answers before they write; some do both. Rules of one "
            "line are the same here, where every decay is α and every gate 1.",
            claims=("more_pairs_than_channels_cannot_all_be_recalled",), numbers=study.recall_of_all,
            picture=recall.draw_recall,
            stream=lambda keys, alpha: on_table(
                study.stream_of(study.keys_of(keys, study.CHANNELS), alpha), *FOUR),
        ),
        Step(
            slug="proof", title="Why no memory of that size can do it", controls=(BETA,),
            question="Two columns, three keys. Whatever S is, what is its answer to the **third** key made of?",
            equation=(r"k_3 = a k_1 + b k_2 \;\Rightarrow\;", Lit(r"S k_3 = a \, S k_1 + b \, S k_2")),
            where="a and b are two numbers. Any d + 1 keys in d columns depend on each other like this: one write "
            "moves other answers.",
            claims=("more_pairs_than_channels_cannot_all_be_recalled",), numbers=study.third_key,
            picture=recall.draw_third,
            stream=lambda beta: on_table(study.three_tokens(60.0, beta), "deltanet"),
        ),
    ),
)  # fmt: skip
