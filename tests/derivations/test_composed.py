"""What is checked of a rule that is put together, in this process and in the one that the page asks."""

from __future__ import annotations

import itertools
import random

import pytest

from app import proofs
from derivations import composed
from derivations.mutants.by_hand import planted
from derivations.residual import is_zero
from derivations.run import stated_for
from gdn_core import reference
from gdn_core.lab.studies import compose

MICRO, OWN_KEY = "micro_steps_of_a_token_are_one_product", "separate_removal_keys_are_two_tokens_of_the_family"


def test_the_edits_of_every_choice_may_be_done_in_chunks_and_a_wrong_chunk_is_noticed() -> None:
    for choice in itertools.product(compose.DECAYS, compose.ERASES, compose.WRITES, (1, 2, 3)):
        assert is_zero(composed.edits_in_chunks(*choice, random.Random(1), reference.chunk)), choice
        wrong = planted(reference.chunk, "x.w * x.v - gamma", "x.w * x.v + gamma")
        assert not is_zero(composed.edits_in_chunks(*choice, random.Random(1), wrong)) or choice[1] == "none", choice


@pytest.mark.parametrize(
    ("choice", "extra"),
    [
        (("scalar", "tied", "none", 1), []),
        (("none", "tied", "scalar", 3), [MICRO]),
        (("key", "key", "none", 1), [OWN_KEY]),
        (("entry", "key", "value", 2), []),
    ],
)
def test_the_claims_of_a_choice_are_those_that_are_stated_for_its_parts(
    choice: tuple[str, str, str, int], extra: list[str]
) -> None:
    rule = compose.rule_of(*choice[:3])
    stated = [made.name for made in stated_for(rule)] if rule else []
    numbers = composed.claims_of(*choice)
    assert list(numbers["claim"]) == [composed.IN_CHUNKS, *stated, *extra]
    assert numbers["holds"].all()
    assert (numbers["steps"] > 0).all()
    assert (numbers["refuted"] == numbers["mutants"]).all()


def test_the_page_gets_from_its_process_what_is_checked_here() -> None:
    choice = {"decay": "scalar", "erase": "key", "write": "none", "steps": 1}
    here, there = composed.claims_of(**choice), proofs.ledger().check_composed(**choice)
    assert {name: array.tolist() for name, array in there.items()} == {n: array.tolist() for n, array in here.items()}
