"""Errata: a formula that is printed wrong a file, with its counterexample and the claim that checks it."""
