"""The map of the lineage: what it runs against recurrences written out, and what it says against the gates' widths."""

from __future__ import annotations

import numpy as np
import pytest

from app.lessons import lineage as lesson
from derivations.models.containment import contains
from derivations.registry import load
from gdn_core.lab.studies import lineage
from gdn_core.rules import LINEAGE, RULES


def written_out(decay: float, erase: str) -> np.ndarray:
    """Run the study's stream with a scalar decay or none, and an erase gate as named, without the reference."""
    s = lineage.stream_of()
    S = np.zeros((4, 6))
    for t in range(12):
        beta, kappa = s.beta[t].mean(), s.k[t] @ s.k[t]
        theta = {"none": 0, "explicit": beta, "implicit": beta / (1 + beta * kappa), "exact": -np.expm1(-beta * kappa)}
        a = np.exp(decay * s.g[t].mean())
        write = 1.0 if erase == "none" else theta[erase]
        S = a * S @ (np.eye(6) - theta[erase] * np.outer(s.k[t], s.k[t])) + write * np.outer(s.v[t], s.k[t])
    return S


def test_rules_that_are_inside_others_do_not_differ_and_the_others_by_what_is_written_out() -> None:
    numbers = lineage.along_the_edges()
    found = dict(zip(lineage.EDGES, numbers["difference"], strict=True))
    for edge, (kind, *_) in zip(lineage.EDGES, lesson.ABOUT, strict=True):
        if kind == lesson.EXACT:
            assert found[edge] < 1e-12, edge
        elif edge[0] != "softmax-attention":
            assert found[edge] > 1e-5, edge
    plain, delta = written_out(0, "none"), written_out(0, "explicit")
    for edge, other in (
        (("linear-attention", "deltanet"), plain - delta),
        (("deltanet", "longhorn"), delta - written_out(0, "implicit")),
        (("deltanet", "efla"), delta - written_out(0, "exact")),
    ):
        assert found[edge] == pytest.approx(np.abs(other).max(), rel=1e-9)


def test_a_gate_makes_of_a_wider_rule_the_narrower_one_where_it_can() -> None:
    s = lineage.stream_of()
    for narrow, erase in (("deltanet", "explicit"), ("linear-attention", "none")):
        numbers = lineage.one_in_another(narrow)
        np.testing.assert_allclose(numbers["narrower"], written_out(0, erase), atol=1e-12)
        np.testing.assert_allclose(numbers["wider"][-1], numbers["narrower"], atol=1e-12)
        assert numbers["difference"][-1] < 1e-12
        assert (numbers["difference"][:-1] > 0.01).all()
        S = np.zeros((4, 6))
        for t in range(12):
            beta = s.beta[t].mean()
            S = 0.5 * S @ (np.eye(6) - (erase != "none") * beta * np.outer(s.k[t], s.k[t]))
            S = S + (beta if erase != "none" else 1) * np.outer(s.v[t], s.k[t])
        np.testing.assert_allclose(numbers["wider"][0], S, atol=1e-12)
    numbers = lineage.one_in_another("mamba-2")
    np.testing.assert_allclose(numbers["narrower"], written_out(1, "none"), atol=1e-12)
    np.testing.assert_allclose(numbers["wider"][-1], 0, atol=1e-12)  # without beta nothing is written
    assert (numbers["difference"] > 0.1).all()


def test_the_map_says_of_each_arrow_what_the_gates_say() -> None:
    assert set(lesson.PLACES) == {row.slug for row in LINEAGE}
    for (one, other), (kind, _, claim) in zip(lineage.EDGES, lesson.ABOUT, strict=True):
        assert claim in load()
        if claim == lesson.INSIDE:
            assert contains(RULES[other], RULES[one]), (one, other)
        if kind != lesson.EXACT and one in RULES:
            assert not contains(RULES[other], RULES[one])
