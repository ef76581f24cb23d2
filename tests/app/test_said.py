"""The numbers in the sentences of lessons, read back from the text and compared with the arrays that they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from app import compute
from app.lessons import showing
from app.lessons.place import starting
from gdn_core import RULES, Discretisation, reference, streams

NUMBER = re.compile(r"(?<![\w.])(−?\d[\d,]*(?:\.\d+)?)(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?")
LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


def read(sentence: str) -> list[float]:
    """Read the numbers of a sentence, in order."""
    return [
        float(mantissa.replace(",", "").translate(LOWERED)) * 10.0 ** int(power.translate(LOWERED) or 0)
        for mantissa, power in NUMBER.findall(sentence)
    ]


Numbers = Mapping[str, Any]

#: What the numbers of a sentence are, in order, for each frame; by lesson and step.
SAID: dict[tuple[str, str], Callable[[Numbers, int], list[Any]]] = {
    ("softmax", "weights"): lambda n, i: [
        n["length"][i], n["weight"][i, 2, 0], np.delete(n["weight"][i], 2).max(), 1,
    ],
    ("softmax", "cache"): lambda n, i: [
        i + 1, 8, sum(np.isfinite(n[name][i]).sum() for name in ("keys", "values")), n["memory"][i].size,
        *n["error"][i],
    ],
    ("softmax", "live"): lambda n, i: [
        n["length"][i], 1e3 * n["seconds"][i, 0], *in_kilobytes(n["bytes"][i, 0]), 1e3 * n["seconds"][i, 1],
        *in_kilobytes(n["bytes"][i, 1]), *(n["seconds"][i] / n["seconds"][i - 1] if i else ()),
    ],
    ("softmax", "models"): lambda n, i: [
        2 ** (6 + i), 12, *in_kilobytes(12 * 2048 * 2 ** (6 + i)), 36, *in_kilobytes(36 * 2**21),
        *in_kilobytes(48 * 2048 * 2 ** (6 + i)), 3072, 1024,
    ],
    ("s4", "kernel"): lambda n, i: [
        1, n["token"][i], n["lag"][i], n["output"][i, i + n["lag"][i]], n["lag"][i], n["moved"][0, n["lag"][i]], i,
        np.abs(n["output"][i] - n["moved"][i]).max(),
    ],
    ("s4", "ways"): lambda n, i: [
        i, n["states"][i].size, n["recurrence"][i], i + 1, n["convolution"][i], n["fft"][i],
        np.ptp([n[way][: i + 1] for way in ("recurrence", "convolution", "fft")], axis=0).max(),
    ],
    ("s4", "fft"): lambda n, i: [
        n["zeros"][i], max(0, 15 - i), len(n["right"]), np.abs(n["output"][i] - n["right"]).max(), n["output"][i, 0],
        n["right"][0],
    ],
    ("s4", "broken"): lambda n, i: [
        n["steps"][i].min(), n["steps"][i].max(), 1, n["tokens"][0], n["matrix"][i][n["tokens"][0], n["tokens"][0]],
        n["tokens"][1], n["matrix"][i][n["tokens"][1], n["tokens"][1]],
        np.linalg.norm(n["rest"][i]) / np.linalg.norm(n["matrix"][i]),
    ],
    ("mamba", "hand"): lambda n, i: [
        n["step"][i], *sorted(n["share"][i, 0])[:-3:-1], np.median(n["step"]), *sorted(n["share"][i, 1])[:-3:-1],
    ],
    ("mamba", "text"): lambda n, i: [
        n["step"][i], *by_kind(n, i)[0][::-1], np.median(n["step"]), *by_kind(n, i)[1][::-1],
    ],
    ("mamba", "memory"): lambda n, i: list(left_of_the_first(i)),
    ("mamba", "fixed"): lambda n, i: [
        n["step"][i], n["fact"][i], n["rest"][i], (10 / 11) ** 10 / 11, np.log(11 / 10), *n["mamba"],
    ],
    ("lineage", "inside"): lambda n, i: [n["gate"][i], np.abs(n["wider"][i] - n["narrower"]).max()],
    ("gating", "old"): lambda n, i: [
        i + 1, 16, np.log(0.5) / np.log(0.93), *n["newest"][i, ::-1], 0.93**i, 1,
    ],
    ("recency", "twice"): lambda n, i: [1, int(i > 1)],
    ("delta", "space"): lambda n, i: [
        *([i // 2 - (i % 2 == 0)] if i else []),
        *([np.linalg.norm(n["memory"][i] - n["memory"][i - 1]), n["answer"][i]] if i else []),
        *([] if i % 2 else [*([n["value"][i]] if i else []), *n["off"][i]]),
    ],
    ("chunkwise", "carry"): lambda n, i: [
        [np.linalg.norm(n["U"])], [np.linalg.norm(n["W"] @ n["S"].T)], [n["apart"][0]],
        [np.linalg.norm(n["O"] - n["of_chunk"]), np.linalg.norm(n["O"] - n["of_memory"]), n["apart"][1]],
        [n["apart"][2], np.linalg.norm(n["after"]), np.linalg.norm(n["S"])],
    ][i],
    ("chunkwise", "agreement"): lambda n, i: [
        i + 1, 0, *(n[name][i] for name in ("float32", "float16", "bfloat16")), *n["recurrence"][[2, 1, 0]],
    ],
    ("chunkwise", "cost"): lambda n, i: [
        2**i, n["inside"][i], n["carried"][i], 256, 256 / 2**i, 1e3 * n["seconds"][i],
    ],
}  # fmt: skip


def in_kilobytes(count: int) -> list[float]:
    """Write bytes as sentences do, in the largest unit of which there is one."""
    return [float(count / max(unit for unit in (1, 2**10, 2**20, 2**30) if unit <= count))]


SMALL = ["the", "by", "of"]


def by_kind(numbers: Numbers, i: int) -> np.ndarray:
    """Add up the weights of content words and of fillers under Mamba and under S4, [2, 2]."""
    small, weight = np.isin(numbers["word"], SMALL), numbers["weight"][i]
    return np.array([[np.nansum(row[~small]), np.nansum(row[small])] for row in weight])


def left_of_the_first(i: int) -> Iterator[float]:
    """Yield what is left of the first word's write after word i under Mamba, with the two columns, and under S4."""
    words = ["the", "old", "mill", "by", "the", "river", "grinds", "the", "corn", "of", "the", "whole", "valley"]
    steps = [0.02 if word in SMALL else 0.5 for word in words]
    mamba, s4 = sum(steps[1 : i + 1]), i * float(np.median(steps))
    yield from (0, np.exp(-mamba), 3, np.exp(-4 * mamba), np.exp(-s4), np.exp(-4 * s4))


@pytest.mark.parametrize(("lesson", "step"), SAID, ids=[f"{lesson}-{step}" for lesson, step in SAID])
def test_every_number_of_a_sentence_is_one_of_the_run(lesson: str, step: str) -> None:
    shown = showing.show(starting(lesson, step))
    for i in {0, len(shown.said) // 2, len(shown.said) - 1}:
        said, expected = np.array(read(shown.said[i])), np.array(SAID[lesson, step](shown.numbers, i), dtype=float)
        assert len(said) == len(expected), shown.said[i]
        assert (np.abs(said - expected) <= np.where(said == 0, 1e-6, 0.06 * np.abs(expected))).all(), shown.said[i]


def test_s4_in_the_lab_has_the_outputs_of_the_lesson() -> None:
    shown = showing.show(starting("s4", "ways"))
    stream = compute.scenario(shown.choice).stream
    x = streams.tokens(RULES["s4"], stream, discretisation=Discretisation.ZOH)
    _, o = reference.recurrent(np.zeros((1, 4)), x)
    np.testing.assert_allclose(o[:, 0], shown.numbers["recurrence"], atol=1e-9)


def last_memory(lesson: str, step: str, rule: int = 0) -> np.ndarray:
    """Return the memory at the end of the stream that a step hands to the lab."""
    return compute.picture(showing.show(starting(lesson, step)).choice).trajectory.states[rule, -1]


def test_the_lab_gets_the_stream_of_the_step() -> None:
    for lesson, step, name, frame in (
        ("delta", "plane", "written", 10),
        ("delta", "gradient", "written", 10),
        ("delta", "stable", "memory", 20),
        ("delta", "space", "memory", -1),
        ("step", "token", "weights", -1),
        ("lineage", "inside", "wider", 6),
    ):
        shown = showing.show(starting(lesson, step)).numbers[name][frame]
        got = last_memory(lesson, step)
        np.testing.assert_allclose(got.reshape(shown.shape), shown, atol=2e-5, err_msg=f"{lesson}, {step}")
    after = showing.show(starting("collision", "proof")).numbers["after"][12]
    np.testing.assert_allclose(last_memory("collision", "proof") @ np.eye(2), after[:2].T, atol=2e-5)
    run = compute.picture(showing.show(starting("linear", "normaliser")).choice).trajectory
    for n, name in enumerate(("with_normaliser", "without")):
        lengths = showing.show(starting("linear", "normaliser")).numbers[name]
        # of 48 tokens a link has room for three digits, which are off by 5e-4 at most
        np.testing.assert_allclose(np.linalg.norm(run.o[n], axis=1), lengths, rtol=1e-3)
