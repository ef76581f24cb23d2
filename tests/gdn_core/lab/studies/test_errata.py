"""The numbers of the lesson on errata, against the exact ones of the claims and other forms of the same misprints."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from app.lessons.errata import LESSON, LINES
from derivations.claims.errata.output_mask import MASKED
from derivations.models.chunk_matrices import matrix_form
from derivations.models.errata import errata
from derivations.mutants.by_hand import planted
from gdn_core import RULES, reference
from gdn_core.lab.studies import errata as study
from gdn_core.reference import Token
from gdn_core.streams import tokens

STEPS = {line: step for step in LESSON.steps for control in step.controls if control.name == "line"
         for line in control.options}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_off_by_the_exact_numbers_of_its_claim(line: str) -> None:
    entry, numbers = errata()[LINES[line].claim], STEPS[line].numbers(line=line)
    at = int(np.abs(numbers["at"] - LINES[line].start).argmin())
    assert numbers["at"][at] == pytest.approx(LINES[line].start)
    for name, exact in (("printed", entry.gives), ("right", entry.should_give)):
        assert numbers[name][at] == pytest.approx(float(Fraction(exact.split(" x ")[0])))


def test_every_entry_of_the_errata_has_its_line() -> None:
    assert {one.claim for one in LINES.values()} == set(errata())


def in_chunks(run: object, x: Token) -> np.ndarray:
    S, outputs = np.zeros((study.SIZE, study.SIZE)), []
    for start in range(0, study.T, study.CHUNK):
        S, o = run(S, x[start : start + study.CHUNK])
        outputs.extend(o)
    return np.array(outputs)


def with_the_sign(S: np.ndarray, x: Token) -> tuple[np.ndarray, np.ndarray]:
    """A chunk whose errors add what earlier writes answer, in the system and in what is erased of the memory."""
    a, b = np.exp(x.g[:, 0, 0]), x.b[:, 0]
    written, erased, o = [], [], []  # errors of an empty memory, and what W makes, before its decays
    for i in range(len(x)):
        between = [np.prod(a[j + 1 : i + 1]) for j in range(i)]
        written.append(b[i] * (x.v[i] + sum(between[j] * (x.k[j] @ x.k[i]) * written[j] for j in range(i))))
        erased.append(b[i] * (x.k[i] + sum((x.k[j] @ x.k[i]) * erased[j] for j in range(i))))
    N = [written[i] - np.prod(a[: i + 1]) * S @ erased[i] for i in range(len(x))]
    for i in range(len(x)):
        S_i = np.prod(a[: i + 1]) * S + sum(np.prod(a[j + 1 : i + 1]) * np.outer(N[j], x.k[j]) for j in range(i + 1))
        o.append(S_i @ x.q[i])
    return S_i, np.array(o)


def token_by_token(x: Token, kind: str) -> np.ndarray:
    S, wrong, outputs = np.zeros((study.SIZE, study.SIZE)), np.zeros((study.SIZE, study.SIZE)), []
    for t in range(study.T):
        a, b = np.exp(x.g[t, 0, 0]), x.b[t, 0]
        if kind == "right":
            M = a * (np.eye(study.SIZE) - b * np.outer(x.k[t], x.k[t]))
            wrong = wrong @ M + b * np.outer(x.v[t], x.k[t])
        elif kind == "order":
            wrong = a * wrong + b * np.outer(x.v[t] - wrong @ x.k[t], x.k[t])
        else:  # the error is that of the chunk's start and right writes; the chunk hands on the wrong memory
            if t % study.CHUNK == 0:
                S = wrong
            u = b * (x.v[t] - a * S @ x.k[t])
            S = a * S + np.outer(u, x.k[t])
            wrong = a * (wrong + np.outer(u, x.k[t]))
        outputs.append(wrong @ x.q[t])
    return np.array(outputs)


def test_a_layer_is_off_as_far_as_the_same_misprint_elsewhere() -> None:
    x = tokens(RULES["gated-deltanet"], study.stream_of(0.8))
    right = token_by_token(x, "right")
    made = {
        "mask": in_chunks(planted(reference.chunk, *MASKED), x),
        "sign": in_chunks(with_the_sign, x),
        "twice": in_chunks(lambda S, y: matrix_form(S, y, exp=np.exp, stack=np.stack, ungated="A_decayed"), x),
        "own": token_by_token(x, "own"),
        "order": token_by_token(x, "order"),
    }
    off = study.all_along(0.8)["off"]
    for n, fault in enumerate(study.FAULTS):
        expected = np.linalg.norm(made[fault] - right, axis=1) / np.linalg.norm(right, axis=1).mean()
        np.testing.assert_allclose(off[:, n], expected, atol=1e-9, err_msg=fault)
        assert off[:, n].max() > 1e-3


def test_without_decays_only_the_sign_is_wrong() -> None:
    off = study.all_along(1.0)["off"].max(axis=0)
    assert [fault for fault, most in zip(study.FAULTS, off, strict=True) if most > 1e-9] == ["sign"]
