"""The claims: a folder for each subject, a file for each idea. :mod:`derivations.subjects` has their order."""
