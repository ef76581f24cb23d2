"""Errata: in each file a formula that is printed wrong, its counterexample, and the claim that checks it."""
