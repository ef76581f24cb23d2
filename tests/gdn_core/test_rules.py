"""Rules as data: the lineage is complete, and data that are no rule are refused with a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gdn_core.rules import LINEAGE, RULES, SOFTMAX_ATTENTION, Clock, Discretisation, Gate, Integrator, Source, WriteRule


def test_the_lineage_holds_every_rule_and_softmax_attention_outside_the_family() -> None:
    assert set(LINEAGE) - set(RULES.values()) == {SOFTMAX_ATTENTION}
    assert not isinstance(SOFTMAX_ATTENTION, WriteRule)


@pytest.mark.parametrize("row", LINEAGE, ids=lambda row: row.slug)
def test_every_row_says_what_it_is_and_where_it_is_published(row) -> None:
    assert row.title and row.summary.endswith(".") and 1990 <= row.year <= 2026
    assert row.source.paper and row.source.place and row.source.title


def test_only_the_cache_of_softmax_attention_grows() -> None:
    for row in LINEAGE:
        assert (row.floats(200, 4, 8) > row.floats(100, 4, 8)) is (row is SOFTMAX_ATTENTION)
    assert SOFTMAX_ATTENTION.floats(100, 4, 8) == 1200
    assert RULES["linear-attention-normalised"].floats(100, 4, 8) == RULES["linear-attention"].floats(100, 4, 8) + 8


@pytest.mark.parametrize(("width", "shape"), list(zip(Gate, [(1, 1), (1, 1), (1, 5), (3, 1), (3, 5)], strict=True)))
def test_a_gate_has_the_shape_of_the_channels_it_tells_apart(width: Gate, shape: tuple[int, int]) -> None:
    assert width.shape(3, 5) == shape


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"slug": "Gated DeltaNet"}, r"slug: expected lower-case words joined by hyphens, got 'Gated DeltaNet'"),
        ({"erase": Gate.VALUE}, r"erase: expected one of none, scalar, key, got value"),
        ({"write": Gate.KEY}, r"write: expected one of none, scalar, value, matrix, got key"),
        ({"write": Gate.VALUE}, r"tied: expected scalar erase and write gates, got scalar and value"),
        ({"decay": Gate.MATRIX}, r"decay: a matrix decay is exp\(Delta A\)"),
        ({"discretisation": Discretisation.ZOH}, r"decay: a matrix decay is exp\(Delta A\)"),
        ({"tied": False, "write": Gate.MATRIX}, r"write: a matrix gate is Delta phi_1"),
        ({"normalised": True}, r"normalised: expected an additive rule"),
        ({"integrator": Integrator.EXACT}, r"integrator: expected .* with a scalar decay and the exact solution"),
        ({"integrator": Integrator.IMPLICIT, "tied": False}, r"integrator: expected .*; got implicit"),
        ({"integrator": Integrator.EXACT, "decay": Gate.KEY, "tied": False}, r"integrator: expected .*; got exact"),
    ],
)
def test_data_that_make_no_rule_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        replace(RULES["gated-deltanet"], **change)


def test_a_discretisation_is_for_a_rule_of_continuous_time() -> None:
    mamba = RULES["mamba"]
    assert mamba.discretised(Discretisation.ZOH).write is Gate.MATRIX
    assert mamba.discretised(Discretisation.ZOH).discretised(Discretisation.MAMBA) == mamba
    assert RULES["s4"].clock is Clock.FIXED
    with pytest.raises(ValueError, match="discretisation: DeltaNet is discrete from the start, got zoh"):
        RULES["deltanet"].discretised(Discretisation.ZOH)


def test_a_source_with_an_arxiv_number_has_an_address() -> None:
    assert Source("2412.06464", "eq. 10").url == "https://arxiv.org/abs/2412.06464"
    assert Source("Neural Computation 4(1)", "sec. 2").url is None
