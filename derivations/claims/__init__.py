"""The claims: a folder a subject, and in it a file an idea. :mod:`derivations.subjects` has their order."""
