"""The numbers in the sentences of lessons, read back from the text and compared with the arrays that they are about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from app import compute
from app.lessons import parts, showing
from app.lessons.place import PATH, starting
from gdn_core import RULES, Discretisation, reference, streams
from gdn_core.lab.studies import collision

NUMBER = re.compile(r"(?<![\w.])(−?\d[\d,]*(?:\.\d+)?)(?: × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?")
LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")


def read(sentence: str) -> list[float]:
    """Read the numbers of a sentence, in order; those in names, such as Mamba-2, are none."""
    return [
        float(mantissa.replace(",", "").translate(LOWERED)) * 10.0 ** int(power.translate(LOWERED) or 0)
        for mantissa, power in NUMBER.findall(re.sub(r"(?<=\w)-\d+\w*", "", sentence))
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
    ("recency", "twice"): lambda n, i: [0.5, 0.5] if i > 1 else [1, 0],  # halves of a sum
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
    ("lineage", "sentence"): lambda n, i: [
        *(share for slug in ("linear", "mamba", "delta", "gated") for share in two_values(slug, i)),
    ],
    ("lineage", "map"): lambda n, i: [*([1992, 2020] if i == 0 else []), n["difference"][i]],
    ("linear", "weights"): lambda n, i: [
        i, *(n[name][i, i] for name in ("softmax", "features", "products")), 1, 1, n["products"][i].sum(),
    ],
    ("linear", "forms"): lambda n, i: [
        i, i, *n["at_once"][i], *n["token_by_token"][i], 2, *n["in_chunks"][i],
        np.ptp([n["at_once"][i], n["token_by_token"][i], n["in_chunks"][i]], axis=0).max(),
    ],
    ("linear", "normaliser"): lambda n, i: [i + 1, 1, 1, n["without"][i]],
    ("linear", "fast-weights"): lambda n, i: [i + 1, np.abs(n["states"][0, i + 1] - n["states"][1, i + 1]).max()],
    ("collision", "first"): lambda n, i: [i + 1, 8, *off_of_pair(n, i, 0), *off_of_pair(n, i, i)],
    ("collision", "overlaps"): lambda n, i: [i + 1, n["predicted"][i], n["measured"][i]],
    ("collision", "rules"): lambda n, i: [
        i + 1, 16, *(error_of(rule, i) for rule in ("linear", "gated")), min(map(float, n["error"][i])), n["best"][i],
    ],
    ("collision", "proof"): lambda n, i: [
        5 * i, np.cos(np.radians(5 * i)), np.sin(np.radians(5 * i)),
        *np.linalg.norm(n["after"][i] - n["values"], axis=1),
    ],
    ("recency", "order"): lambda n, i: [
        *(n["orders"][i] + 1), 5, 6, 6 - (list(n["orders"][i]).index(4) > list(n["orders"][i]).index(5)), 1, 6,
        np.abs(n["memory"][i] - n["memory"][0]).max(),
    ],
    ("recency", "weights"): lambda n, i: [i + 1, 1, 1, 0.8**i, 1, float(i == 0), 1, float(i == 0), 1],
    ("recency", "long"): lambda n, i: [
        n["tokens"][i], n["error"][i, 0], n["norm"][i, 0], n["error"][i, 3], n["norm"][i, 3],
    ],
    ("ode", "sampled"): lambda n, i: [n["step"][i], 3, 1 - np.exp(-3), *n["at_three"][i]],
    ("ode", "errors"): lambda n, i: [
        1, *([4, *n["error"][0]] if i == 0 else
             [2**i, *(n["error"][i - 1, m] / n["error"][i, m] for m in (2, 1)), n["error"][i, 0]]),
    ],
    ("ode", "turning"): lambda n, i: [n["step"][i], *of_a_complex_rate(n["step"][i])],
    ("ode", "memory"): lambda n, i: [
        i + 1, np.abs(n["memory"][i] - n["solution"][i]).max(), np.abs(n["solution"][i]).max(),
    ],
    ("step", "pictures"): lambda n, i: [i / 10, np.exp(-i / 10), 1 - np.exp(-i / 10)],
    ("step", "gate"): lambda n, i: [
        n["a"][i], np.log1p(np.exp(n["a"][i])), 1 / (1 + np.exp(n["a"][i])), *2 * [1 / (1 + np.exp(-n["a"][i]))],
    ],
    ("step", "token"): lambda n, i: [
        i + 1, n["step"][i], 1 - np.exp(-n["step"][i]),
        *([4, n["weights"][i, 3], n["weights"][i, :3].sum()] if i > 2 else []),
    ],
    ("gating", "left"): lambda n, i: [i, 0.93 ** (i / 2), n["by_token"][i], n["fastest"][i], n["slowest"][i]],
    ("gating", "reset"): lambda n, i: list(np.linalg.norm(n["states"][:, i + 1], axis=(1, 2))),
    ("delta", "stages"): lambda n, i: [np.linalg.norm(n["read"][1, i]), np.linalg.norm(n["u"][1, i])],
    ("delta", "plane"): lambda n, i: [
        i / 20, 1 - i / 20, max(1, abs(1 - i / 20)), n["before"] @ n["key"], (1 - i / 20) * (n["before"] @ n["key"]),
    ],
    ("delta", "gradient"): lambda n, i: [
        i / 20, *(((1 - b) * (n["before"] @ n["key"] - 0.5)) ** 2 / 2 for b in (0, i / 20)),
    ],
    ("delta", "stable"): lambda n, i: [i, 1.5, (-0.5) ** i * n["along"][0], -0.5, n["across"][0]],
    ("delta", "parity"): lambda n, i: [ones_so_far(i), (-1) ** ones_so_far(i)],
    ("one-equation", "along"): lambda n, i: [i / 10, *100 * removed(i / 10)[[2, 0, 1, 2]]],
    ("one-equation", "four"): lambda n, i: [i / 10, i / 10, *100 * removed(i / 10)],
    ("one-equation", "pieces"): lambda n, i: [
        n["pieces"][i], *(100 * (1 - (1 - removed(1.5 / n["pieces"][i])[:3]) ** n["pieces"][i])),
    ],
    ("one-equation", "decay"): lambda n, i: [
        *([1, 2**i] if i else []), *n["difference"][i],
        *([n["difference"][i - 1, 0] / n["difference"][i, 0]] if i else []),
    ],
    ("gated", "square"): lambda n, i: [i, *n["error"][i, :, -1][np.isfinite(n["error"][i, :, -1])]],
    ("gated", "tokens"): lambda n, i: list(just_stored(i)),
    ("gated", "limit"): lambda n, i: [n["eps"][i], n["difference"][i], n["difference"][i] / n["eps"][i] ** 2],
    ("chunkwise", "solve"): lambda n, i: [*6 * [i], np.abs(n["U"][i] - n["errors"][i]).max()],
    ("chunkwise", "overflow"): lambda n, i: [
        n["size"][i], n["size"][i] * np.log(0.5), *([2.0 ** n["size"][i], 1] if n["size"][i] < 128 else []), 1,
    ],
    ("attention", "words"): lambda n, i: [
        i, n["gated"][i, : i + 1].max(), n["softmax"][i, : i + 1].max(),
        *([n["gated"][i, : i + 1].min()] if n["gated"][i, : i + 1].min() < -0.005 else [0]),
    ],
    ("attention", "life"): lambda n, i: [
        i, n["left"][i, -1, 2], 0.95 ** (11 - i), *most_of_a_write(n["left"][i, :, 2], i),
    ],
    ("attention", "negative"): lambda n, i: [
        5 * i, 0, 1, np.cos(np.radians(5 * i)), np.sin(np.radians(5 * i)),
        -np.cos(np.radians(5 * i)) * np.sin(np.radians(5 * i)),
    ],
    ("attention", "matrix"): lambda n, i: [i, np.abs(n["weights"][i] - n["walked"][i]).max(), n["apart"][i]],
    ("layer", "flow"): lambda n, i: [13, flowing(n, i).shape[1], flowing(n, i).min(), flowing(n, i).max()],
    ("layer", "convolution"): lambda n, i: [
        i, *convolved_terms(n, i), sum(convolved_terms(n, i)), 6, n["conv"][i] / (1 + np.exp(-n["conv"][i])),
    ],
    ("layer", "gates"): lambda n, i: [
        i, np.linalg.norm(n["active"][i, 6:12]), 1,
        *(x for h in (0, 1) for x in (h, 1 / (1 + np.exp(-n["b"][i, h])), np.exp(n["g"][i, h]))),
    ],
    ("layer", "memory"): lambda n, i: [
        i, 0, np.linalg.norm(n["memory"][i]), np.linalg.norm(n["memory"][i - 1]) * bool(i), np.linalg.norm(n["o"][i]),
    ],
    ("layer", "output"): lambda n, i: [
        i, *np.sqrt((n["o"][i] ** 2).mean(axis=1)), np.abs(n["gated"][i]).mean() / np.abs(n["normed"][i]).mean(),
        np.linalg.norm(n["y"][i]),
    ],
    ("layer", "sizes"): lambda n, i: [
        n["rows"][i], n["columns"][i], n["rows"][i] * n["columns"][i], 100 * n["count"][i] / n["count"].sum(),
        n["count"].sum(), 32 * 128 * 128, 48, 36,
    ],
    ("compose", "parts"): lambda n, i: [
        i, *(np.linalg.norm(x) for x in (n["before"][i], n["decayed"][i], n["decayed"][i] - n["erased"][i],
                                         n["written"][i] - n["erased"][i])),
    ],
    ("compose", "collision"): lambda n, i: [i + 1, 16, n["error"][i], n["best"][i]],
    ("compose", "recency"): lambda n, i: [i + 1, 0.5, 0.5 * 0.45**i],
    ("compose", "facts"): lambda n, i: [i, *n["error"][i][np.isfinite(n["error"][i])]],
    ("compose", "tasks"): lambda n, i: [
        n["score"][i, 0], *([0.95] if n["score"][i, 0] < 0.95 else []), *n["score"][i, 1:3],
        (n["score"][:, 0] >= 0.95).sum(), 7, 2,
    ],
    ("errata", "chunk"): lambda n, i: [2, n["at"][i], 2, n["printed"][i], n["right"][i], 1],
    ("errata", "token"): lambda n, i: [n["at"][i], 2 + n["at"][i], 3, 1],
    ("errata", "formula"): lambda n, i: [i / 10, 1 - i / 10, 1 - (i / 10) ** 2, 0, 1],
    ("errata", "shape"): lambda n, i: [i + 1, i + 1, 1, 1],
    ("errata", "along"): lambda n, i: [i, i % 16 + 1, *n["off"][i]],
}  # fmt: skip


def in_kilobytes(count: int) -> list[float]:
    """Write bytes as sentences do, in the largest unit of which there is one."""
    return [float(count / max(unit for unit in (1, 2**10, 2**20, 2**30) if unit <= count))]


def two_values(slug: str, i: int) -> tuple[float, float]:
    """Return the shares of a key's first and second value in its answer: decays of 0.9, the second at token 4."""
    decay = 0.9 if slug in ("mamba", "gated") else 1.0
    old = (decay**i) * (i < 4 or slug in ("linear", "mamba"))
    new = decay ** (i - 4) * (i >= 4)
    return old / max(1, old + new), new / max(1, old + new)


def off_of_pair(n: Numbers, i: int, pair: int) -> Iterator[float]:
    """Yield how far the answers to a pair's key are from its value, under both rules, from the writes alone."""
    stream = compute.picture(showing.show(starting("collision", "first")).choice).trajectory.stream
    k, v = stream.k[: i + 1].astype(float), stream.v[: i + 1].astype(float)
    erased = np.zeros((v.shape[1], k.shape[1]))
    for key, value in zip(k, v, strict=True):
        erased += np.outer(value - erased @ key, key)
    for S in (v.T @ k, erased):
        yield float(np.linalg.norm(S @ k[pair] - v[pair]) / np.linalg.norm(v[pair]))


def error_of(rule: str, i: int) -> float:
    """Return the mean squared error of all pairs of the lesson on collision, from its writes alone."""
    stream, S = collision.stream_of(collision.keys_of("random", 16), 0.98), np.zeros((16, 16))
    for k, v in zip(stream.k[: i + 1], stream.v, strict=False):
        S = S + np.outer(v, k) if rule == "linear" else 0.98 * S + np.outer(v - 0.98 * S @ k, k)
    return float(((stream.k[: i + 1] @ S.T - stream.v[: i + 1]) ** 2).sum() / (i + 1))


def of_a_complex_rate(step: float) -> list[float]:
    """Return what a step multiplies by, and how far it turns, exactly, bilinear and by Euler, at the rate -0.3 + 2i."""
    z = step * (-0.3 + 2j)
    ways = np.exp(z), (1 + z / 2) / (1 - z / 2), 1 + z
    return [*map(abs, ways), np.degrees(z.imag), *(np.degrees(np.angle(way)) for way in ways[1:])]


def ones_so_far(i: int) -> int:
    """Count the bits of 1 among the first tokens."""
    labels = compute.scenario(showing.show(starting("delta", "parity")).choice).labels
    return list(labels[: i + 1]).count("1")


def removed(z: float) -> np.ndarray:
    """Return the share of the error that DeltaNet, Longhorn, EFLA and the projection remove in a step of size z."""
    return np.array([z, z / (1 + z), 1 - np.exp(-z), 1.0])


def just_stored(i: int) -> Iterator[float]:
    """Yield how far the answers to the newest key are from its value, under the four rules."""
    run = compute.picture(showing.show(starting("gated", "tokens")).choice).trajectory
    for rule in range(4):
        yield float(np.linalg.norm(run.states[rule, i + 1] @ run.stream.k[i] - run.stream.v[i]))


def most_of_a_write(left: np.ndarray, i: int) -> list[float]:
    """Return the largest fall of what is left of a write, and the token where it falls."""
    falls = -np.diff(left[i:])
    return [falls.max(), i + 1 + falls.argmax()] if len(falls) else []


def flowing(n: Numbers, i: int) -> np.ndarray:
    """Return what flows along an arrow of the layer, a row a token."""
    names = {0: ("mixed",), 6: ("b", "a"), 11: ("gated",)}[i]
    return np.concatenate([n[name].reshape(13, -1) for name in names], axis=1)


def convolved_terms(n: Numbers, i: int) -> list[float]:
    """Return the terms of a convolution, the oldest first: tokens before the first are 0."""
    return [n["taps"][j] * n["before"][i - 3 + j] if i - 3 + j >= 0 else 0.0 for j in range(4)]


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
    yield from (np.exp(-mamba), 0, np.exp(-4 * mamba), 3, np.exp(-s4), np.exp(-4 * s4))


def test_the_sentences_of_every_step_are_read() -> None:
    """To check the claims of a composed rule takes long: its sentences are made of numbers that are made up."""
    assert {("compose", "claims"), *SAID} == set(PATH)
    made_up = {"claim": ["any", "other"], "holds": [True, False], "steps": [3, 1], "mutants": [5, 0], "refuted": [4, 0]}
    said = parts.draw_claims({name: np.array(column) for name, column in made_up.items()}).said
    assert [read(sentence) for sentence in said] == [[1, 3, 4, 5], [2, 1]]


def test_a_step_asks_one_question_and_says_one_sentence_or_two() -> None:
    for lesson, step in PATH:
        where = starting(lesson, step)
        assert where.at[1].question.count("?") == 1, (lesson, step)
        if where.at[1].waits:  # the claims of a composed rule take long; the next test has their words
            continue
        for sentence in showing.show(where).said:
            ends = re.findall(r"[.?!](?=\s|$)", re.sub("“[^”]*”", "", sentence))
            assert 1 <= len(ends) <= 2, sentence


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


def test_the_lab_gets_the_first_of_the_tokens_that_are_timed() -> None:
    for lesson, step, size, drawn in (("softmax", "live", 64, 64), ("chunkwise", "cost", 128, 256)):
        q, k, v = np.random.default_rng(1).standard_normal((3, drawn, size), dtype=np.float32) / size**0.5
        got = compute.scenario(showing.show(starting(lesson, step)).choice).stream
        for one, own in ((got.q, q), (got.k, k), (got.v, v)):
            np.testing.assert_allclose(one, own[: len(got)], atol=1e-4)


def test_the_lab_gets_the_text_whose_weights_are_shown() -> None:
    shown = showing.show(starting("attention", "words"))
    run = compute.picture(shown.choice).trajectory
    rule = shown.choice.rules.index("gated-deltanet")
    np.testing.assert_allclose(shown.numbers["gated"] @ run.stream.v, run.o[rule], atol=2e-5)
