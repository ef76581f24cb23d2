"""A step for each token: what a selective memory keeps of a stream, beside one with the same step at every token."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Discretisation, Stream, Trajectory, reference
from gdn_core.lab.glyphs import glyph
from gdn_core.lab.text import split_words
from gdn_core.streams import tokens

PAIR = ("mamba", "s4")
CONTENT, FACT = 0.5, 3.0  # steps of a word that is no filler, and of a fact
FILLERS = frozenset(
    split_words(
        "a about after all also an and any are as at be because been but by for from had has have he her his how i if "
        "in into is it its just me my no not now of on or our she so some than that the their them then there they "
        "this to up us very was we were what when which who will with you your"
    )
)
FIXED = np.round(np.geomspace(0.01, 4.0, 25), 4)  # steps that S4 tries


def stream_of(steps: np.ndarray, values: np.ndarray) -> Stream:
    """Return tokens under one key, with a step each; the memory is a column, and its one rate is 1."""
    one = np.ones(len(steps))
    key = one[:, None]
    return Stream(q=key, k=key, v=values, g=0 * one, beta=one, w=one, delta=steps, A=-np.ones(1))


def column(rule: str, steps: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Run a rule under zero-order hold, and return the memory's one column after each token, [T, V]."""
    x = tokens(RULES[rule], stream_of(steps, values), discretisation=Discretisation.ZOH)
    S, found = np.zeros((values.shape[1], 1)), []
    for t in range(len(steps)):
        S, _ = reference.recurrent(S, x[t : t + 1])
        found.append(S[:, 0])
    return np.array(found)


def weights(steps: np.ndarray) -> np.ndarray:
    """Return the weight of each token in the memory after each, [T, 2, T], under Mamba and under S4.

    A memory is linear in its values, so values that are the columns of the identity show the weights.
    """
    return np.stack([column(rule, steps, np.eye(len(steps))) for rule in PAIR], axis=1)


def steps_of(text: str) -> np.ndarray:
    """Read steps, numbers with spaces between them."""
    return np.array([float(part) for part in text.split()])


def by_hand(steps: str) -> dict[str, np.ndarray]:
    """Write one picture a token, each with its step; S4 has the median of the steps at every token.

    Returns:
        step [T]; fixed, S4's; share [T, 2, T], after each token, under Mamba and S4, of each picture; and mamba and s4
        [T, 8, 8], the pictures in their memories.
    """
    step = steps_of(steps)
    share = weights(step)
    pixels = np.array([glyph(n).pixels for n in range(len(step))])
    seen = np.tensordot(share, pixels, axes=1)  # [T, 2, 8, 8]
    return {"step": step, "fixed": np.median(step), "share": share, "mamba": seen[:, 0], "s4": seen[:, 1]}


def words_of(text: str, filler: float) -> tuple[list[str], np.ndarray]:
    """Return the words of a text, and the step of each: that of a filler word, or of another."""
    words = split_words(text)
    return words, np.array([filler if word in FILLERS else CONTENT for word in words])


def of_a_text(text: str, filler: float) -> dict[str, np.ndarray]:
    """Read a text word by word, with a small step at its filler words; S4 has the median of the steps.

    Returns:
        word [T]; step [T]; fixed, S4's; weight [T, 2, T], after each word, under Mamba and S4, of each word; and kept
        [T, 2, 2], under each the weight of all content words so far, and of all fillers.
    """
    words, step = words_of(text, filler)
    weight = weights(step)
    is_filler = np.array([word in FILLERS for word in words])
    kept = np.stack([weight[..., ~is_filler].sum(axis=-1), weight[..., is_filler].sum(axis=-1)], axis=-1)
    weight[np.triu_indices(len(words), 1)[0], :, np.triu_indices(len(words), 1)[1]] = np.nan  # not read yet
    return {"word": np.array(words), "step": step, "fixed": np.median(step), "weight": weight, "kept": kept}


def facts(count: int, filler: float) -> tuple[list[str], np.ndarray]:
    """Return a fact and so many fillers behind it, and the step of each."""
    return ["fact", *["filler"] * count], np.array([FACT, *[filler] * count])


def every_fixed_step(count: int, filler: float) -> dict[str, np.ndarray]:
    """Store a fact and then so many fillers, under Mamba once, and under S4 with each of many steps.

    Returns:
        step [N], S4's; fact and rest [N], the weights of the fact and of all fillers under S4; mamba [2], the same two
        under Mamba; and best [2], the step at which S4 keeps most of the fact, and what it keeps.
    """
    values = np.array([[1.0, 0.0], *[[0.0, 1.0]] * count])  # a row for the fact, and one for all the fillers
    found = np.array([column("s4", np.full(count + 1, step), values)[-1] for step in FIXED])
    mamba = column("mamba", facts(count, filler)[1], values)[-1]
    top = np.log1p(1 / count)  # where (1 - e^-x) e^-(n x) is largest
    best = np.array([top, column("s4", np.full(count + 1, top), values)[-1, 0]])
    return {"step": FIXED, "fact": found[:, 0], "rest": found[:, 1], "mamba": mamba, "best": best}


def left_by_column(run: Trajectory) -> np.ndarray:
    """Return what is left of the first token's write after each token, [R, T, K], by column; all rows are alike."""
    g = np.array([x.g[:, 0] for x in run.tokens])
    return np.exp(np.cumsum(g, axis=1) - g[:, :1])
