"""Lesson: the layer around the memory, with a text that flows through it."""

from __future__ import annotations

from typing import Any

from app.choice import Choice
from app.lessons import flow
from app.lessons.frame import BREAK, Lesson, Lit, OneOf, Range, Step, Text, on_table
from gdn_core.lab.studies import layer as study
from gdn_core.rules import Source

OWN = Text(name="text", label="Your text", start="the cat sat on the mat and the dog sat on the rug")
HEAD = OneOf(name="head", label="Head", options={"0": "0, forgets slowly", "1": "1, forgets fast"}, start="0")
CHANNEL = Range(name="channel", label="Channel", low=0, high=27, step=1, start=6)
NAMES = {"qwen3-next": "Qwen3-Next", "qwen3.5": "Qwen3.5", "olmo-hybrid": "OLMo Hybrid"}
MODEL = OneOf(name="model", label="Model", options=NAMES, start="qwen3-next")
CODE = Source("Transformers 5.23, Qwen3NextGatedDeltaNet", "forward")


def _lab(text: str, head: str = "0", **others: Any) -> Choice:
    return on_table(study.head_of(text, int(head)), "linear-attention", "mamba-2", "deltanet", "gated-deltanet")


LESSON = Lesson(
    slug="layer", title="The layer", about="What stands around the memory in a model, from a word to the output.",
    steps=(
        Step(
            slug="flow", title="From a word to the output", controls=(OWN,),
            question="A model does not feed words to the memory. What becomes of a word on its way to the memory, and "
            "from there to the next layer?",
            equation=("q, k, v, z, b, a = \\text{Linear}(x), \\quad",
                      Lit("o = \\text{memory}(q, k, v, \\beta, \\alpha)"), ",",
                      "\\quad y = \\text{Linear}(\\hat o \\odot \\text{SiLU}(z))"),
            where="x has the 12 channels of a token here, and y those that leave. Linear is a product with weights "
            "that a layer learns, others at each place, and random here. q, k, v are query, key and value; z is the "
            "gate of the output, and no normaliser; b and a make β and α. ô is o, normed, and ⊙ multiplies channel by "
            "channel. The next steps explain the parts, and SiLU.",
            claims=("gated_chunk_equals_recurrence",), numbers=study.of_text, picture=flow.draw_flow, stream=_lab,
            sources=(CODE,),
        ),
        Step(
            slug="convolution", title="The short convolution", controls=(OWN, CHANNEL),
            question="Each channel of q, k and v is mixed with the three tokens before it. How much of a number is the "
            "token's own?",
            equation=("c_t =", Lit("\\sum_{j=0}^{3} f_j \\, x_{t-j}"), ", \\quad \\text{SiLU}(c) = c \\, \\sigma(c)"),
            where="x is a channel of q, k or v, f its four weights, c what they give. σ runs from 0 to 1, so that SiLU "
            "keeps what is large and shuts what is negative. A key so names a few words, not one.",
            claims=("fixed_recurrence_is_a_convolution",), numbers=study.convolved, picture=flow.draw_convolution,
            stream=_lab, sources=(CODE,),
        ),
        Step(
            slug="gates", title="Lengths and gates", controls=(OWN,),
            question="β = 1 replaces what a key answers only if the key has length 1. Who sees to that, and where do β "
            "and α come from?",
            equation=(r"\hat k =", Lit(r"k / \sqrt{\lVert k \rVert^2 + 10^{-6}}"), r", \quad \beta = \sigma(b),", BREAK,
                      r"\log \alpha = -A \, \text{softplus}(a + \delta)"),
            where="k is a key after SiLU; queries are treated alike. b and a come from the token. A "
            "layer has several memories, its heads; each learns two numbers, a rate A and δ. softplus(x) = log(1 + "
            "eˣ) is positive, so α stays between 0 and 1.",
            claims=("softplus_log_decay_stays_between_zero_and_one",
                    "delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two"),
            numbers=study.of_text, picture=flow.draw_gates, stream=_lab, sources=(CODE,),
        ),
        Step(
            slug="memory", title="The memory of a head", controls=(OWN, HEAD),
            question="Two heads have the same keys, and other values and gates. What does each keep of the text?",
            equation=("S_t =", Lit(r"\alpha_t S_{t-1} \left(I - \beta_t k_t k_t^\top\right)"), r"+ \beta_t v_t",
                      r"k_t^\top, \quad o_t = S_t q_t / \sqrt{d_k}"),
            where="S is the memory of one head, dₖ the channels of its keys, 6 here. Two value heads share a key head, "
            "as in Qwen3-Next.",
            claims=("gated_chunk_equals_recurrence", "stages_add_up_to_the_step"), numbers=study.of_head,
            picture=flow.draw_memory, stream=_lab, sources=(CODE,),
        ),
        Step(
            slug="output", title="The gated norm", controls=(OWN,),
            question="What a memory answers grows and shrinks with what it holds. What does the next layer get of it?",
            equation=(Lit(r"\hat o = o \big/ \sqrt{\overline{o^2} + 10^{-6}}"), r", \quad y =",
                      r"\text{Linear}(\hat o \odot \text{SiLU}(z))"),
            where="Below the bar is the mean over the channels of a head. The norm makes all answers equally long, and "
            "the gate z, made of the token and not of the memory, says which channels pass.",
            claims=("stages_add_up_to_the_step",), numbers=study.of_text, picture=flow.draw_out, stream=_lab,
            sources=(CODE,),
        ),
        Step(
            slug="sizes", title="Published sizes", controls=(MODEL,),
            question="Where are the parameters of such a layer: in what makes keys and values, in the gates, or in the "
            "output?",
            equation=(Lit("D (2 H d_k + H_v d_v)"), r"+ D H_v d_v + 2 D H_v + 4 (2 H d_k + H_v d_v)",
                      r"+ 2 H_v + d_v + D H_v d_v"),
            where="D are the channels of a token, H the key heads, Hᵥ the value heads, d their channels. Lit: queries, "
            "keys and values. Then the gate z, β and α, the convolution, A and δ, the norm, the output.",
            claims=("training_all_at_once_is_quadratic_and_in_chunks_linear",), numbers=study.parameters,
            picture=flow.draw_parameters, stream=lambda model: _lab(OWN.start),
            lab="The small layer of this lesson in the lab",
            sources=tuple(source for *_, source in study.PROJECTED.values()),
        ),
    ),
)  # fmt: skip
