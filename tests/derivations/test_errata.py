"""The errata: each entry has a claim, claims that prove the right form, and numbers that plain arithmetic gives."""

from derivations.models.errata import errata
from derivations.registry import load
from derivations.subjects import SUBJECTS


def test_every_erratum_has_a_claim_and_claims_that_prove_the_right_form():
    claims = load()
    of_errata = [name for name, claim in claims.items() if claim.subject == SUBJECTS["errata"].title]
    assert list(errata()) == of_errata
    for name, entry in errata().items():
        assert entry.proved_by == claims[name].uses
        assert entry.proved_by and not set(entry.proved_by) & set(of_errata)
        assert entry.gives != entry.should_give


def test_the_numbers_of_the_mask_are_those_of_plain_arithmetic():
    entry = errata()["chunk_output_needs_the_decay_mask"]
    (s,), (a1, a2), (b1, b2), (k1, k2), (v1, v2), (_, q2) = (entry.numbers[name] for name in "sabkvq")
    s1 = a1 * s + b1 * (v1 - a1 * s * k1) * k1
    s2 = a2 * s1 + b2 * (v2 - a2 * s1 * k2) * k2
    assert str(s2 * q2) == entry.should_give
    assert str(s2 * q2 + b1 * k1 * q2 * (a2 - 1) * (a1 * k1 * s - v1)) == entry.gives
